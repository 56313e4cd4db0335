"""Things that are no files, files that may not be read, and limits on files: one line each."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tuner.cli.app import app
from tuner.cli.errors import file_error
from tuner.data import read_folder
from tuner.data.inventory.summary import counts, remarks
from tuner.errors import DiskError
from tuner.storage.files import write_text


@pytest.fixture
def photos(tmp_path: Path) -> Iterator[Path]:
    """A picture with a caption, and sockets named as pictures here and in other folders."""
    folder = tmp_path / "photos"
    for name in ("", "inside", ".hidden"):
        (folder / name).mkdir()
    Image.effect_noise((64, 64), 60).save(folder / "a.png")
    (folder / "a.txt").write_text("1girl")
    before = Path.cwd()
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    os.chdir(folder)  # the path of a socket is short
    names = ("b.png", "c.heic", "inside/d.png", ".hidden/e.png", ".f.png")
    for each, name in zip(sockets, names, strict=True):
        each.bind(name)
    os.chdir(before)
    yield folder
    for each in sockets:
        each.close()


def test_sockets_are_no_pictures(photos: Path) -> None:
    data = read_folder(photos)
    aside = {path.name: why for path, why in data.set_aside}
    assert aside == dict.fromkeys(("b.png", "c.heic"), "no regular file")
    assert counts(data).endswith("; captions: .txt 1")
    assert not [line for line in remarks(data, {}) if "folders" in line or "hidden" in line]


def test_sockets_are_set_aside_by_a_preparation(photos: Path, tmp_path: Path) -> None:
    options = ["--crop", "none", "--min-side", "16"]
    run = CliRunner().invoke(app, ["data", "prepare", str(photos), str(tmp_path / "o"), *options])
    assert run.exit_code == 0, run.output
    assert "o/images: 1 picture of 3" in run.stdout
    assert "no regular file" in run.stdout
    for name, fault in (("a.png", "is no folder"), ("b.png", "is no folder"), ("z", "not there")):
        command = ["data", "prepare", str(photos / name), str(tmp_path / "p"), *options]
        run = CliRunner().invoke(app, command)
        assert (run.exit_code, fault in run.stderr) == (3, True), run.output


def commands(group: Any, name: str = "tuner") -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


def test_no_command_leaves_a_closed_file_to_the_parser_of_options() -> None:
    """Its message is a box over several lines, with another exit code than the same file inside."""
    paths = [
        (name, parameter.name, parameter.type_descriptor.parameter_info.readable)
        for name, command in commands(typer.main.get_command(app))
        for parameter in command.params
        if getattr(parameter.type_descriptor, "annotation", None) in (Path, Path | None)
    ]
    assert len(paths) > 15
    assert not [each for each in paths if each[-1]]


def test_a_file_that_is_too_large_is_a_full_disk(tmp_path: Path) -> None:
    error = file_error(OSError(errno.EFBIG, "File too large", "a.csv"))
    assert (type(error), error.exit_code) == (DiskError, 74)
    assert str(error) == "a file is too large for a.csv; allow larger ones: `ulimit -f unlimited`"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_text(tmp_path / "a.csv", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file_error(caught.value).exit_code == 74
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_files_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "closed.csv").touch(0)
    (tmp_path / "closed").mkdir(0)
    script = "import sys; from tuner.cli.start import main; main()"
    command = [sys.executable, "-c", script]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", *command]
    for words in (["selfcheck", "--labels", "closed.csv"], ["selfcheck", "--data", "closed"]):
        done = subprocess.run(
            [*command, *words], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        lines = done.stderr.splitlines()
        assert (done.returncode, len(lines)) == (3, 1), done.stderr
        assert "cannot be read" in lines[0]
    (tmp_path / "closed").chmod(0o700)
