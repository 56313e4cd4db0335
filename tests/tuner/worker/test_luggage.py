"""What travels to a node and back: named, whole, once, and checked. Without a cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from metrics.contract import Prompt, Sample, Score, ScoredSample
from tests.tuner.tiny_space import write_space
from tuner.errors import TunerError
from tuner.space import load_study
from tuner.storage import Store, StudyFolder
from tuner.storage.extract import apply_extract, extract
from tuner.storage.rows import NO_PIXELS, RungRow
from tuner.study.record import read_data
from tuner.worker.nodes import luggage
from tuner.worker.nodes.delivery import no_room, other_versions
from tuner.worker.nodes.luggage import Item, collect, laid_out, missing, parts, write_part
from tuner.worker.nodes.names import Names, pack, unpack
from tuner.worker.nodes.parcel import Arrival, Sent, batches, changed, read_parts


@dataclass(frozen=True)
class Message:
    file: Path
    base: str
    words: tuple[str, ...]


def test_each_machine_finds_its_own_paths_in_a_message() -> None:
    here = Names(Path("studies/a"), {"/models/base": ("tree", ""), "/p/1.png": ("pictures", "x")})
    there = Names(Path("/cache/s"), {"/cache/tree": ("tree", ""), "/cache/x": ("pictures", "x")})
    message = Message(Path("/p/1.png"), "/models/base", ("studies/a", "base"))
    received = unpack(pack(message, here), there)
    assert received == Message(Path("/cache/x"), "/cache/tree", ("studies/a", "base"))
    assert unpack(pack(received, there), here) == message
    rung = Path("/cache/s/trials/0001/lora.safetensors")
    assert unpack(pack(rung, there), here) == Path("studies/a/trials/0001/lora.safetensors")


def test_a_name_that_was_not_sent_is_an_error() -> None:
    here = Names(Path("/a"), {"/x": ("other", "x")})
    with pytest.raises(TunerError, match="was not sent"):
        unpack(pack("/x", here), Names(Path("/b"), {}))


def send(items: list[Item], sources: dict[str, Path], folder: Path, writer: str = "1") -> None:
    for item in items:
        for offset, part in parts(item, sources[item.sha256]):
            write_part(item, offset, part, folder, writer)


def test_a_study_goes_to_a_node_once_and_lies_there_as_it_lay_here(tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    config = load_study(write_space(tmp_path / "space"))
    load = collect(config, read_data(config))
    items, node = list(load.items.values()), tmp_path / "node"
    assert set(missing(items, node)) == set(load.items)
    send(items, dict(load.sources), node)
    assert missing(items, node) == []
    known: dict[str, tuple[str, str]] = {}
    for tree in load.trees:
        known |= laid_out(tree, node, tmp_path / "study")
    there = Names(tmp_path / "s", known)
    moved = unpack(pack(config, Names(tmp_path, load.known)), there)
    assert isinstance(moved, type(config))
    assert Path(moved.base) != Path(config.base)
    for old, new in ((config.base, moved.base), (config.judges.gender_model,) * 2):
        assert old is not None
        assert new is not None
        for file in Path(old).rglob("*.safetensors"):
            assert (Path(new) / file.relative_to(old)).read_bytes() == file.read_bytes()
    images = read_data(config)[None].images
    for image in images:
        path = unpack(pack(image.path, Names(tmp_path, load.known)), there)
        assert isinstance(path, Path)
        assert path.read_bytes() == image.path.read_bytes()


def test_a_file_that_arrives_damaged_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(luggage, "PART_BYTES", 4)
    source = tmp_path / "source"
    source.write_bytes(b"0123456789")
    item = Item("weights", "0" * 64, 10)
    with pytest.raises(TunerError, match="other content"):
        send([item], {item.sha256: source}, tmp_path / "node")
    assert missing([item], tmp_path / "node") == [item.sha256]
    assert [path for path in (tmp_path / "node").rglob("*") if path.is_file()] == []


def test_only_new_files_of_a_study_folder_travel(tmp_path: Path) -> None:
    folder, seen = StudyFolder(tmp_path / "study"), {}  # type: ignore[var-annotated]
    rung = folder.trial(3).rung(2)
    for path in (rung.lora, rung.sample(0), folder.kept / "x", folder.results_db):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"abc")
    (rung.root / ".grid.1.tmp.png").write_bytes(b"half")
    sent = changed(folder, seen)
    assert {file.path for file in sent} == {
        "trials/0003/rung_0002/lora.safetensors",
        "trials/0003/rung_0002/samples/0000.png",
    }
    assert changed(folder, seen) == []
    rung.lora.write_bytes(b"abcd")
    assert changed(folder, seen) == [Sent("trials/0003/rung_0002/lora.safetensors", 4)]


def test_files_are_in_place_only_when_all_have_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.worker.nodes.parcel.PART_BYTES", 4)
    source, folder = tmp_path / "source", StudyFolder(tmp_path / "study")
    names = {"trials/0000/lora.safetensors": b"0123456789", "base/a.png": b"", "base/b.png": b"xy"}
    for name, content in names.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    sent = [Sent(name, len(content)) for name, content in names.items()]
    arrival = Arrival(folder, "node0")
    for batch in batches(sent):
        assert sum(length for _, _, length in batch) <= 4
        arrival.write(batch, read_parts(source, batch))
        assert not any((folder.root / name).exists() for name in names)
    arrival.place()
    assert {name: (folder.root / name).read_bytes() for name in names} == names
    assert not list(folder.root.rglob(".*"))


def test_regularisation_pictures_come_as_a_whole_folder(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    arrival = Arrival(folder, "node0")
    arrival.write([("regularisation/0000.png", 0, 1)], [b"x"])
    assert not folder.regularisation.exists()
    arrival.place()
    assert [path.name for path in folder.regularisation.iterdir()] == ["0000.png"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "base/../../x"])
def test_a_node_writes_only_into_the_study(name: str, tmp_path: Path) -> None:
    with pytest.raises(TunerError, match="not in the study"):
        Arrival(StudyFolder(tmp_path), "node0").write([(name, 0, 1)], [b"x"])


def scored(path: Path) -> list[ScoredSample]:
    sample = Sample(Prompt("1girl", None), 0, NO_PIXELS, path)
    return [ScoredSample(sample, {"pose": Score("pose", 0.5)})]


def test_a_worker_elsewhere_has_the_rows_of_the_base_and_of_its_trial(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    database, copy = tmp_path / "here" / "results.db", tmp_path / "there" / "results.db"
    grid = database.parent / "grid.png"
    with Store(database) as store:
        store.begin_trial(0, {"rank": 4})
        store.begin_trial(1, {"rank": 8})
        before = extract(database, [1])
        for trial in (None, 0):
            row = RungRow(trial, 0, {}, {}, None, grid)
            store.put_rung(row, scored(database.parent / "base" / "0.png"))
        apply_extract(before, copy)
        with Store(copy, read_only=True) as there:  # as a worker that has it open already
            assert (there.rungs(None), [row.number for row in there.trials()]) == ([], [1])
            after = extract(database, [1])
            assert extract(database, [1]) == after != before
            apply_extract(after, copy)
            assert [sample.scores["pose"].value for sample in there.samples(None, 0)] == [0.5]
            assert there.samples(None, 0)[0].path == copy.parent / "base" / "0.png"
            assert there.rungs(0) == []


def test_other_versions_and_full_disks_are_named_with_both_numbers() -> None:
    ours = {"tuner": "1.0", "torch": "2.9", "Python": "3.11"}
    assert other_versions(ours, ours) is None
    assert other_versions({**ours, "torch": "2.8"}, ours) == (
        "torch 2.8 there and 2.9 here; install the same versions on both"
    )
    assert "torch is missing there" in str(other_versions({"tuner": "1.0", "Python": "3.11"}, ours))
    assert no_room("/cache", 10 * 2**30, 2**30) is None
    line = str(no_room("/cache", 2**30, 3 * 2**30))
    assert line.startswith("/cache has 1.0 GiB free, and 3.5 GiB are needed")


def test_the_cache_folder_is_that_of_tuner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TUNER_HOME", str(tmp_path))
    assert luggage.luggage_folder() == tmp_path / "ray" / "luggage"
