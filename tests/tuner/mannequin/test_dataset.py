from __future__ import annotations

from pathlib import Path

from PIL import Image

from tuner.mannequin.dataset import SIZE, write_dataset


def test_writes_pictures_with_captions_in_the_asked_proportion(tmp_path: Path) -> None:
    write_dataset(tmp_path, count=40, female_share=0.9)
    captions = [path.read_text() for path in sorted(tmp_path.glob("*.txt"))]
    assert len(captions) == 40
    assert sum(caption.startswith("1boy") for caption in captions) == 4
    for caption, path in zip(captions, sorted(tmp_path.glob("*.png")), strict=True):
        assert Image.open(path).size == (SIZE, SIZE)
        assert "body" in caption
        assert "undressed" not in caption


def test_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_dataset(tmp_path / name, count=3)
    first, second = (sorted((tmp_path / name).iterdir()) for name in ("a", "b"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
