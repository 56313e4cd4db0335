"""What a study sends to each node once: training pictures, and models that are files or folders.

Files travel by the hash of their content and stay in the node's cache folder. A model that has a
name on a hub is fetched by the node itself, the mannequin comes with tuner.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from metrics.contract import OPTIONAL_MODELS
from tuner.data import TrainingSet, TrainingSets
from tuner.data.folder import TrainingImage
from tuner.data.inventory.left_out import Inventory
from tuner.errors import TunerError
from tuner.space import StudyConfig
from tuner.storage import replacing
from tuner.storage.shipped import cache_folder
from tuner.worker.nodes.names import Name

PART_BYTES = 16 * 2**20
"""Bytes of a file that travel at once."""

_MODEL_FILES = (
    *(".safetensors", ".pt", ".json", ".yaml", ".yml", ".txt", ".model", ".jinja"),
    *(".task", ".onnx"),
)
"""Files of a model's folder that are read; pictures, documents and pickles stay."""

_PICTURES = "pictures"


@dataclass(frozen=True)
class Item:
    """A file: its name in its tree, the SHA-256 of its content in hex, its size in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Tree:
    """Files that lie in one folder on a node; `name` is the hash of their names and contents."""

    name: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Luggage:
    """The trees of a study, and where their files are on this machine.

    `known` has the name of each path that appears in messages, `sources` a file for each hash.
    """

    trees: tuple[Tree, ...] = ()
    known: Mapping[str, Name] = field(default_factory=dict)
    sources: Mapping[str, Path] = field(default_factory=dict)

    @property
    def items(self) -> dict[str, Item]:
        """All files by hash, each once."""
        return {item.sha256: item for tree in self.trees for item in tree.items}


def collect(config: StudyConfig, sets: TrainingSets) -> Luggage:
    """Return the luggage of a study: hash its models and list its pictures.

    Raises OSError for a file that cannot be read.
    """
    trees: list[Tree] = []
    known: dict[str, Name] = {}
    sources: dict[str, Path] = {}
    pictures = {str(image.path): image for image in _pictures(sets)}
    if pictures:
        items = {}
        for path, image in pictures.items():
            name = f"{image.sha256}{image.path.suffix.lower()}"
            items[name] = Item(name, image.sha256, image.path.stat().st_size)
            sources[image.sha256] = image.path
            known[path] = (_PICTURES, name)
        trees.append(Tree(_PICTURES, tuple(items.values())))
    models = collect_models(_models(config))
    return Luggage(
        (*trees, *models.trees), {**known, **models.known}, {**sources, **models.sources}
    )


def collect_models(names: Iterable[str | None]) -> Luggage:
    """Return the luggage of the models among `names` that are files or folders of this machine."""
    trees: list[Tree] = []
    known: dict[str, Name] = {}
    sources: dict[str, Path] = {}
    for name in dict.fromkeys(names):
        if name and os.path.isabs(name) and os.path.exists(name):
            model = Path(name)
            tree, files = _model_tree(model)
            trees.append(tree)
            sources |= files
            known[name] = (tree.name, model.name if model.is_file() else "")
    return Luggage(tuple(trees), known, sources)


def without_listing(sets: TrainingSets) -> dict[str | None, TrainingSet]:
    """Return the training sets without the lists of files that are not used."""
    return {name: _bare(images) for name, images in sets.items()}


def _bare(images: TrainingSet) -> TrainingSet:
    prior = images.regularisation
    regularisation = None if prior is None else _bare(prior)
    return replace(
        images, set_aside=(), inventory=Inventory(), regularisation=regularisation, root=Path()
    )


def _pictures(sets: TrainingSets) -> Iterator[TrainingImage]:
    for images in sets.values():
        yield from (*images.images, *images.held_out)
        if images.regularisation is not None:
            yield from (*images.regularisation.images, *images.regularisation.held_out)


def _models(config: StudyConfig) -> list[str | None]:
    """Return the bases and the judges' models of a study."""
    judges = ("gender_model", "person_model", "copy_model", "identity_model", *OPTIONAL_MODELS)
    return [
        *(config.base, *config.also_sample_on),
        *(getattr(config.judges, name) for name in judges),
    ]


def _model_tree(model: Path) -> tuple[Tree, dict[str, Path]]:
    if model.is_file():
        files = [model, model.with_suffix(".yaml")]
        parent = model.parent
    else:
        files = [path for path in sorted(model.rglob("*")) if path.suffix.lower() in _MODEL_FILES]
        parent = model
    items, sources = [], {}
    for path in dict.fromkeys(files):
        if path.is_file():
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(parent).as_posix()
            items.append(Item(name, sha256, path.stat().st_size))
            sources[sha256] = path
    return Tree(_tree_hash(items), tuple(items)), sources


def _tree_hash(items: Iterable[Item]) -> str:
    lines = "".join(f"{item.sha256} {item.name}\n" for item in items)
    return hashlib.sha256(lines.encode()).hexdigest()


def luggage_folder() -> Path:
    """Return the folder of this machine's cache for the luggage of studies; it can be deleted."""
    return cache_folder() / "ray" / "luggage"


def missing(items: Iterable[Item], folder: Path) -> list[str]:
    """Return the hashes of the files that `folder` does not have."""
    return [item.sha256 for item in items if not _place(folder, item.sha256).is_file()]


def parts(item: Item, source: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the parts of a file with their offsets, at least one."""
    with source.open("rb") as file:
        offset = 0
        while part := file.read(PART_BYTES):
            yield offset, part
            offset += len(part)
        if not offset:
            yield 0, b""


def write_part(item: Item, offset: int, part: bytes, folder: Path, writer: str) -> None:
    """Write a part of a file into `folder`; after its last part the file is checked and in place.

    `writer` tells apart those who write the same file. Raises TunerError for a file with another
    hash, which is not kept.
    """
    place = _place(folder, item.sha256)
    growing = place.with_name(f".{place.name}.{writer}.tmp")
    growing.parent.mkdir(parents=True, exist_ok=True)
    with growing.open("wb" if offset == 0 else "r+b") as file:
        file.seek(offset)
        file.write(part)
    if offset + len(part) < item.size:
        return
    with growing.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != item.sha256:
        growing.unlink()
        raise TunerError(f"{item.name} arrived with other content than it was sent with; try again")
    with replacing(place) as temporary:
        os.replace(growing, temporary)


def laid_out(tree: Tree, folder: Path, into: Path) -> dict[str, Name]:
    """Link the files of a tree below `into`; return the names of its own paths on this machine."""
    root = into / tree.name
    shutil.rmtree(root, ignore_errors=True)
    known: dict[str, Name] = {str(root): (tree.name, "")}
    for item in tree.items:
        path = root / item.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(_place(folder, item.sha256).resolve())
        known[str(path)] = (tree.name, item.name)
    return known


def _place(folder: Path, sha256: str) -> Path:
    return folder / sha256[:2] / sha256
