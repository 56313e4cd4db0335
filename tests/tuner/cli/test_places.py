"""Places that users name: outputs inside data, addresses, trials that never were."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.tuner.export.test_recipe import study
from tuner.cli.app import app

SPACE = "study: x\nbase: {base}\ndata: {data}\nbudget: {{trials: 1, rungs: [2]}}\n"


def ended(*arguments: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stderr.splitlines()


@pytest.mark.parametrize("option", [("--sheet", "a.png"), ("--json", "a.json")])
@pytest.mark.parametrize("there", ["photos", "link", "."])
def test_an_audit_writes_nothing_into_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: tuple[str, str], there: str
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (32, 32)).save(photos / "a.png")
    (photos / "a.txt").write_text("1girl")
    (tmp_path / "link").symlink_to("photos")
    before = (photos / "a.png").read_bytes()
    monkeypatch.chdir(photos if there == "." else tmp_path)
    code, lines = ended("data", "audit", there, option[0], str(Path(there) / option[1]))
    assert (code, len(lines)) == (3, 1)
    assert "which is only read; name a file elsewhere" in lines[0]
    assert (photos / "a.png").read_bytes() == before
    assert not (photos / "a.json").exists()


@pytest.mark.parametrize(
    ("base", "data", "words"),
    [
        ("https://example.org/owner/name", "mannequin", "base https://example.org/owner/name: an"),
        ("mannequin", "https://example.org/photos", "is an address, which is not read"),
        ("mannequin", "file:///photos", "is an address, which is not read"),
    ],
)
def test_addresses_are_no_paths(tmp_path: Path, base: str, data: str, words: str) -> None:
    space = tmp_path / "x.yaml"
    space.write_text(SPACE.format(base=base, data=data))
    code, lines = ended("check", str(space))
    assert code == 3
    assert words in lines[0]


@pytest.mark.parametrize("options", [["--recipe", "kohya", "-o", "x.toml"], ["-o", "x"]])
def test_a_trial_that_never_was_is_told_as_that(tmp_path: Path, options: list[str]) -> None:
    study(tmp_path)
    *before, name = options
    studies = ["--studies", str(tmp_path / "studies")]
    command = ["export", "small", "--trial", "7", *before, str(tmp_path / name), *studies]
    code, lines = ended(*command)
    assert (code, len(lines)) == (1, 1)
    assert "small has no trial 7; it has 1 trial, the last is 4" in lines[0]
