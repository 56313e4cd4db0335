"""Captions that `tuner data prepare` writes: tiny models of the real classes, real figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tuner.data.raw_pictures import prepare, save, table
from tests.tuner.data.tiny_captioners import save_tiny_blip, save_tiny_tagger
from tuner.data import read_folder
from tuner.mannequin import draw
from tuner.mannequin.render import Figure

SIZE = 256
WOMAN = Figure("female", top="sweater", top_colour="green", ground="cluttered", jitter=1)


def test_captions_are_written_by_both_models(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    save(raw, "a.png", draw(WOMAN, SIZE), None)
    models = [f"--blip={save_tiny_blip(tmp_path / 'blip', 'woman')}"]
    models.append(f"--tagger={save_tiny_tagger(tmp_path / 'wd14')}")
    done = prepare(raw, tmp_path / "out", "--captions", "blip+wd14", *models)
    assert done.exit_code == 0, done.stderr
    (image,) = read_folder(tmp_path / "out" / "images").images
    sentence, *tags = image.caption.split(", ")
    assert set(sentence.split()) == {"woman"}
    assert tags[:2] == ["solo", "1girl"]
    (whole,) = read_folder(tmp_path / "out" / "regularisation").images
    assert whole.caption.startswith("woman woman")


@pytest.mark.parametrize("how", ["blip", "wd14"])
def test_a_picture_that_may_show_a_child_is_set_aside(how: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    save(raw, "a.png", draw(WOMAN, SIZE), None)
    blip = save_tiny_blip(tmp_path / "blip", "toddler")
    tagger = save_tiny_tagger(tmp_path / "wd14", {"toddler": -1.5})
    done = prepare(raw, tmp_path / "out", "--captions", how, f"--blip={blip}", f"--tagger={tagger}")
    assert done.exit_code == 0, done.stderr
    assert table(tmp_path / "out")["a.png"][0]["reason"].startswith("refused: it names a child")
    assert not (tmp_path / "out" / "images").exists()
    assert not (tmp_path / "out" / "regularisation").exists()


def test_a_copy_of_a_refused_picture_is_set_aside_with_it(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    picture = draw(WOMAN, SIZE)
    save(raw, "a.png", picture, "1girl, toddler")
    save(raw, "b.jpg", picture, "1girl, solo")
    (raw / "c.png").write_bytes((raw / "a.png").read_bytes())
    (raw / "c.txt").write_text("1girl, solo")
    done = prepare(raw, tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    reasons = {name: rows[0]["reason"] for name, rows in table(tmp_path / "out").items()}
    assert reasons["b.jpg"] == "a near copy: of a.png"
    assert reasons["c.png"] == "a copy: of a.png"
    assert not (tmp_path / "out" / "images").exists()


@pytest.mark.parametrize("how", ["blip", "wd14"])
def test_without_a_network_a_missing_captioner_is_reported_in_a_line(
    how: str, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    save(raw, "a.png", draw(WOMAN, SIZE), None)
    done = prepare(raw, tmp_path / "out", "--captions", how)
    assert (done.exit_code, done.stdout) == (4, "")
    assert len(done.stderr.splitlines()) == 1
    assert "name its folder with --" in done.stderr
    assert not (tmp_path / "out").exists()
