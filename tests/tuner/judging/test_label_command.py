from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.tuner.judging.label_folder import draw_folder
from tuner.cli.app import app
from tuner.judging.labelling import server as label_server
from tuner.judging.labelling.page import PAGE
from tuner.judging.labelling.server import LabelServer, serve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_folder(tmp_path / "pictures")


def label(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["label", "--no-open", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["nowhere"], 3, "nowhere is not there; name a folder of pictures"),
        (["pictures/a.png"], 3, "a.png is a file; name a folder of pictures"),
        (["empty"], 3, "empty has no pictures"),
        (["pictures", "--out", "pictures/a.png"], 3, "name a file that ends in .csv"),
        (["pictures", "--out", "pictures/a.png/labels.csv"], 3, "is not a writable folder"),
        (["pictures", "--out", "other.csv"], 3, "other.csv has other columns than file,"),
    ],
)
def test_unusable_folders_and_tables_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, why: str
) -> None:
    monkeypatch.chdir(folder.parent)
    Path("empty").mkdir()
    Path("other.csv").write_text("name,age\n")
    before = sorted(folder.iterdir())
    done = label(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(folder.iterdir()) == before
    assert Path("other.csv").read_text() == "name,age\n"


def test_a_port_in_use_is_one_line(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = label(folder, "--port", other.getsockname()[1])
    assert done.exit_code == 1
    assert re.fullmatch(r"error: port \d+ on 127\.0\.0\.1 cannot be used.*--port\n", done.stderr)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_serves_until_it_is_stopped(folder: Path, number: int, code: int) -> None:
    command = [sys.executable, "-m", "tuner", "label", str(folder), "--port", "0", "--no-open"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs, the tests among them, hand down an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/ \(.*\)\n", line)[1])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
                assert response.read() == PAGE.encode()
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.2", port), timeout=5).close()
            # A connection that a browser holds open keeps nothing waiting.
            with socket.create_connection(("127.0.0.1", port)):
                server.send_signal(number)
                rest, messages = server.communicate(timeout=20)
        finally:
            server.kill()
    assert (server.returncode, rest) == (code, "")
    assert messages.splitlines() == [
        "1 cannot be judged: broken.png (no picture in a known format)",
        "1 left out: the prompt names a child or an age under 18",
        f"0 of 4 pictures labelled in {folder / 'labels.csv'}",
    ]


@pytest.mark.parametrize(
    ("browser", "screen", "opened"), [(True, ":0", 1), (True, "", 0), (False, ":0", 0)]
)
def test_a_browser_is_opened_on_a_desktop_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, browser: bool, screen: str, opened: int
) -> None:
    urls: list[str] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("webbrowser.open", urls.append)
    monkeypatch.setattr(LabelServer, "serve_forever", lambda self: None)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if screen:
        monkeypatch.setenv("DISPLAY", screen)
    before = set(threading.enumerate())
    serve(folder, folder / "labels.csv", 0, browser=browser)
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
    assert len(urls) == opened
    assert label_server._has_desktop() == bool(screen)
    assert "labels.csv" not in os.listdir(folder)
