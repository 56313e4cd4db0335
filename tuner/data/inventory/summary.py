"""What a data folder gave and what was left out, in a few lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tuner.data.captions import tags_of
from tuner.data.folder import TrainingImage, TrainingSet
from tuner.data.inventory.left_out import LeftOut
from tuner.data.tags import odd_signs
from tuner.text import counted, printable

_SHOWN = 3


def counts(data: TrainingSet) -> str:
    """Return the number of pictures, where they and their captions are from, and those set aside.

    It begins with the numbers to train on and held out.
    """
    text = f"{counted(len(data.images), 'picture')} to train on, {len(data.held_out)} held out"
    if data.set_aside:
        first = "; ".join(f"{_name(data, path)}: {why}" for path, why in data.set_aside[:_SHOWN])
        more = "; ..." if len(data.set_aside) > _SHOWN else ""
        text += f", {len(data.set_aside)} set aside"
        if data.refused:
            text += f", {data.refused} of them for naming a child or an age under 18"
        text += f" ({first}{more})"
    inventory = data.inventory
    folders = {name: count for name, count in inventory.pictures.items() if name}
    text += f"; found in {_counted(folders)}" if folders else ""
    return text + (f"; captions: {_counted(inventory.captions)}" if inventory.captions else "")


def remarks(data: TrainingSet, cut: Mapping[Path, int]) -> list[str]:
    """Return a line on what was left out and a line on captions and pictures that are odd.

    `cut` has the number of tokens of each caption that is cut. There is no line where there is
    nothing to report.
    """
    lines = []
    if left_out := left_out_lines(data, _SHOWN):
        lines.append(f"not used: {'; '.join(left_out)}")
    if odd := odd_lines(data, cut, _SHOWN):
        lines.append(f"note: {'; '.join(odd)}")
    return lines


def left_out_lines(data: TrainingSet, shown: int) -> list[str]:
    """Return `hidden pictures: 4 (.a.png, ...)` for each kind of files that are not used."""
    kinds: dict[str, list[LeftOut]] = {}
    for each in data.inventory.left_out:
        kinds.setdefault(each.kind, []).append(each)
    return [
        f"{kind}: {sum(each.count for each in files)} "
        f"({_listed((left_out_name(data, each) for each in files), len(files), shown)})"
        for kind, files in kinds.items()
    ]


def left_out_name(data: TrainingSet, each: LeftOut) -> str:
    """Return the name of what is left out, with its number of pictures or lines."""
    name = _name(data, each.path)
    if each.detail:
        return f"{name}, the first: {printable(each.detail)}"
    return name if each.count == 1 else f"{name}: {each.count}"


def odd_lines(data: TrainingSet, cut: Mapping[Path, int], shown: int) -> list[str]:
    """Return `empty captions: 2 (a.png, b.png)` for each kind of odd pictures and captions."""
    images = sorted((*data.images, *data.held_out), key=lambda image: image.path)
    stems = Counter(image.path.with_suffix("") for image in images)
    kinds: Mapping[str, list[TrainingImage]] = {
        "pictures of one colour": [image for image in images if image.one_colour],
        "empty captions": [image for image in images if not tags_of(image.caption)],
        "pictures that share a caption file with one of the same name": [
            image for image in images if stems[image.path.with_suffix("")] > 1
        ],
        **_signs(images),
    }
    lines = [
        f"{kind}: {len(those)} ({_listed((_name(data, i.path) for i in those), len(those), shown)})"
        for kind, those in kinds.items()
        if those
    ]
    if cut:
        names = (f"{_name(data, path)}: {tokens} tokens" for path, tokens in cut.items())
        lines.append(f"captions that are cut: {len(cut)} ({_listed(names, len(cut), shown)})")
    return lines


def _signs(images: Sequence[TrainingImage]) -> dict[str, list[TrainingImage]]:
    kinds: dict[str, list[TrainingImage]] = {}
    for image in images:
        for sign in odd_signs(image.caption):
            kinds.setdefault(f"captions with {sign}", []).append(image)
    return kinds


def _counted(numbers: Mapping[str, int]) -> str:
    names = (f"{printable(name)} {count}" for name, count in sorted(numbers.items()))
    return _listed(names, len(numbers), 8)


def _listed(names: Iterable[str], count: int, shown: int) -> str:
    first = [name for name, _ in zip(names, range(shown), strict=False)]
    return ", ".join(first) + (", ..." if count > shown else "")


def _name(data: TrainingSet, path: Path) -> str:
    return printable(path.relative_to(data.root).as_posix())
