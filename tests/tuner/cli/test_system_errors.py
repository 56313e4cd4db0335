"""Errors of the system, odd names, other terminals, pipes and signals: one line each."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tuner.cli.app import app
from tuner.cli.errors import file_error, user_errors
from tuner.data import read_folder
from tuner.errors import ConfigError
from tuner.judging.labelling.labels import read_labels
from tuner.judging.score_folder import find_pictures
from tuner.space import load_study
from tuner.space.sizes import STABLE_DIFFUSION_SIZE, native_size
from tuner.storage.files import replacing, write_text
from tuner.storage.folder import study_folder
from tuner.storage.shipped import cache_folder
from tuner.terminal import accept_all_text, console

LATIN = os.fsdecode(b"caf\xe9")
"""A name out of an old archive: its bytes are no UTF-8."""

SPACE = "study: pose\nbase: mannequin\ndata: {data}\nbudget: {{trials: 1, rungs: [2]}}\n"
CLOSED = """
import os
from pathlib import Path
from tuner.cli.errors import file_error
from tuner.models.stored.index import read_index
tries = (
    lambda: os.listdir("closed"),
    lambda: open("closed/a.png"),
    lambda: open("ro/a", "x"),
    lambda: read_index("b", Path()),
)
for open_it in tries:
    try:
        open_it()
    except OSError as error:
        print(file_error(error).exit_code, file_error(error))
"""


def ended(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stderr


def picture(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64), "grey").save(folder / f"{name}.png")
    (folder / f"{name}.txt").write_text("1girl", encoding="utf-8")
    return folder / f"{name}.png"


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.ENOSPC, 74, "no space left on the disk for pictures/a.png"),
        (errno.EDQUOT, 74, "no space left on the disk for pictures/a.png"),
        (errno.EROFS, 74, "pictures/a.png cannot be written (no luck)"),
        (errno.ENOTDIR, 3, "pictures/a.png cannot be used (no luck); give another path"),
        (errno.ENAMETOOLONG, 3, "pictures/a.png cannot be used (no luck)"),
        (errno.EMFILE, 1, "ulimit -n"),
    ],
)
def test_an_error_of_the_system_names_its_path(number: int, code: int, words: str) -> None:
    known = file_error(OSError(number, "no luck", "pictures/a.png"))
    assert known.exit_code == code
    assert words in str(known)
    assert "\n" not in str(known)


def test_a_cache_that_cannot_be_written_names_its_variable() -> None:
    known = file_error(OSError(errno.EROFS, "Read-only", str(cache_folder() / "mannequin")))
    assert "set TUNER_HOME to another folder" in str(known)


@pytest.mark.skipif(not shutil.which("setpriv"), reason="root may read and write everything")
def test_closed_folders_are_told_from_those_that_may_not_be_written(tmp_path: Path) -> None:
    picture(tmp_path / "closed", "a")
    (tmp_path / "ro").mkdir(0o555)
    (tmp_path / "closed").chmod(0)
    (tmp_path / "model_index.json").touch(0)
    command = [sys.executable, "-c", CLOSED]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", *command]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    (tmp_path / "closed").chmod(0o755)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("3 closed cannot be read (Permission denied); change its permission")
    assert lines[1].startswith("3 closed/a.png cannot be read, ")
    assert lines[2].startswith("74 ro/a cannot be written (Permission denied); change its permiss")
    assert lines[3].startswith("3 model_index.json cannot be read (Permission denied); change its")


def test_a_failed_write_names_the_file_and_not_a_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.csv", tmp_path / f"{'a' * 300}.csv"):
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            write_text(path, "text")
        assert str(path.parent) in str(caught.value.filename)
        assert ".tmp" not in str(caught.value)
    with pytest.raises(OSError, match="full") as full, replacing(tmp_path / "b.csv"):
        raise OSError(errno.ENOSPC, "full")
    assert full.value.filename == str(tmp_path / "b.csv")


def test_only_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path, tmp_path / "pipe.csv", Path(os.devnull)):
        with pytest.raises(ConfigError, match="name a file"):
            write_text(path, "text")
    assert (tmp_path / "pipe.csv").is_fifo()


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "写é�[/x]:smile:".encode()),
        ("latin-1", rb"\u5199" + b"\xe9" + rb"\udce9[/x]:smile:"),
        ("ascii", rb"\u5199\xe9\udce9[/x]:smile:"),
    ],
)
def test_every_text_can_be_printed(
    encoding: str, shown: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding, write_through=True))
    accept_all_text()
    text = f"写é{LATIN[3]}[/x]:smile:"
    print(text)
    console().print(text)
    console(stderr=True).print(text)
    assert stream.getvalue() == (shown + b"\n") * 3


def test_names_that_are_not_utf8_are_used_or_refused_in_a_line(tmp_path: Path) -> None:
    picture(tmp_path / "photos", LATIN)
    (tmp_path / "photos" / f"broken{LATIN}.png").write_bytes(b"broken")
    (tmp_path / "photos" / f"broken{LATIN}.txt").write_text("1girl", encoding="utf-8")
    picture(tmp_path / "kohya" / f"3_{LATIN}", "a").with_suffix(".txt").unlink()
    assert len(read_folder(tmp_path / "photos").images) == 1
    assert read_folder(tmp_path / "kohya").images[0].caption == "caf\N{REPLACEMENT CHARACTER}"
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.format(data="photos"))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_study(space, data=str(tmp_path / LATIN))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        study_folder(tmp_path / LATIN, "pose")
    page = tmp_path / f"{LATIN}.html"
    write_text(page, page.name)
    assert page.read_text(encoding="utf-8") == "caf\N{REPLACEMENT CHARACTER}.html"
    code, line = ended("export", "pose", "-o", str(tmp_path / f"{LATIN}.safetensors"))
    assert (code, "is not UTF-8" in line) == (3, True)


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Path]:
    """A folder of things that are no files: reading a pipe without a writer never ends."""
    folder = tmp_path / "others"
    folder.mkdir()
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.yaml")
    (folder / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as open_socket:
        os.chdir(folder)  # the path of a socket is short
        open_socket.bind("socket.png")
        os.chdir(os.path.dirname(__file__))
        yield folder


@pytest.mark.timeout(20)
def test_pipes_sockets_and_devices_are_not_waited_for(others: Path) -> None:
    good = picture(others, "good")
    found = find_pictures(others, "1girl")
    assert [path for path, _ in found.prompted] == [good]
    assert {(path.name, why) for path, why in found.unreadable} == {
        (f"{name}.png", "no regular file") for name in ("pipe", "socket", "device")
    }
    assert [image.path for image in read_folder(others).images] == [good]
    with pytest.raises(ConfigError, match="or a socket; name a folder"):
        find_pictures(others / "pipe.png", "1girl")
    with pytest.raises(ConfigError, match="is a device, a pipe or a socket"):
        read_labels(others / "pipe.csv")
    with pytest.raises(ConfigError, match="is no file"):
        load_study(others / "pipe.yaml")
    (others / "unet").mkdir()
    os.mkfifo(others / "unet" / "config.json")
    assert native_size(str(others)) == STABLE_DIFFUSION_SIZE


def test_studies_may_be_named_by_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "studies" / "broken"
    broken.mkdir(parents=True)
    (broken / "results.db").write_text("no database")
    (tmp_path / "space.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    for name in ("broken", "studies/broken", "studies/broken/", "./studies/broken"):
        code, lines = ended("status", name)
        assert (code, lines.count("\n")) == (1, 1)
        assert "file is not a database" in lines
    for name, fault in (
        (".", "holds no study"),
        ("space.yaml", "is a file"),
        ("nope/pose", "no study"),
    ):
        code, lines = ended("report", name)
        assert (code, lines.count("\n")) == (3, 1)
        assert fault in lines
        assert "broken" in lines
    monkeypatch.chdir(broken)
    assert "file is not a database" in ended("status", ".")[1]


def test_one_broken_study_does_not_hide_the_others(tmp_path: Path) -> None:
    published = Path(__file__).resolve().parents[3] / "studies" / "pose" / "published"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "results.db").write_text("no database")
    shutil.copy(published / "results.db", tmp_path / "b")
    done = CliRunner().invoke(app, ["status", "--studies", str(tmp_path)])
    assert [line[:2] for line in done.stdout.splitlines()] == ["b:"]
    assert done.exit_code == 3
    assert f"error: {tmp_path / 'a'}" in done.stderr
    with pytest.raises(ConfigError, match="put it back"):
        load_study(tmp_path / "b" / "study.yaml")
    (tmp_path / "file").write_text("")
    for command in (["status"], ["status", "a"]):
        code, line = ended(*command, "--studies", str(tmp_path / "file"))
        assert (code, "is a file" in line) == (3, True)


def test_the_output_of_an_export_is_checked_first(tmp_path: Path) -> None:
    code, line = ended("export", "nope", "-o", str(tmp_path / "pose.txt"))
    assert (code, ".safetensors" in line) == (1, True)
    (tmp_path / "file").write_text("")
    code, line = ended("export", "nope", "-o", str(tmp_path / "file" / "pose.safetensors"))
    assert (code, "is not a writable folder" in line) == (3, True)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C works: a shell's background jobs, the tests among them, inherit that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_even_if_a_library_hides_it(number: int, code: int) -> None:
    def import_library() -> None:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            raise ImportError("numpy failed to import") from None

    with pytest.raises(typer.Exit) as caught, user_errors():
        import_library()
    assert caught.value.exit_code == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_imports_leaves_no_traceback(number: int, code: int) -> None:
    script = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Finder:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name == 'tuner.cli.app': os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder)\n"
        "from tuner.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")
