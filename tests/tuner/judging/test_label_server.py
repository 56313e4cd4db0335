from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.tuner.judging.label_folder import NAMES, draw_folder
from tuner.judging.labelling.labels import FAULTS, KEYS, read_labels
from tuner.judging.labelling.page import PAGE
from tuner.judging.labelling.server import LabelServer, open_server

POLICY = "Content-Security-Policy"
SOUND = {"faults": [], "sex": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_folder(tmp_path / "pictures")


@contextlib.contextmanager
def running(folder: Path, out: Path | None = None, recursive: bool = False) -> Iterator[Page]:
    with open_server(folder, out or folder / "labels.csv", 0, recursive) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Page(server)
        finally:
            server.shutdown()
            thread.join()


class Page:
    """A client that sends the requests of the page in the browser."""

    def __init__(self, server: LabelServer) -> None:
        self.url = server.address
        self.port = server.server_address[1]
        self.run = self.state()["run"]

    def get(self, path: str, **headers: str) -> tuple[int, Any, bytes]:
        return self._send(urllib.request.Request(self.url + path, headers=headers))

    def state(self) -> Any:
        return json.loads(self.get("state")[2])

    def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
        status, _, text = self._send(urllib.request.Request(self.url + path, data, headers))
        return status, json.loads(text) if status == 200 else text.decode()

    def press(self, index: object, key: object) -> tuple[int, Any]:
        return self.post("press", {"run": self.run, "index": index, "key": key})

    def undo(self) -> tuple[int, Any]:
        return self.post("undo", {"run": self.run})

    @staticmethod
    def _send(request: urllib.request.Request) -> tuple[int, Any, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()


def test_pictures_are_labelled_and_the_next_run_goes_on(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with running(folder) as page:
        state = page.state()
        assert [picture["name"] for picture in state["pictures"]] == NAMES
        assert state["start"] == 0
        assert page.press(0, "1") == (200, {"index": 0, "label": SOUND})
        page.press(1, "3")
        both = {"faults": ["unreadable_pose", "wrong_limbs"], "sex": None}
        assert page.press(1, "2") == (200, {"index": 1, "label": both})
        table = (folder / "labels.csv").read_text()
        assert table.splitlines()[1:] == ["a.png,0,0,0,0,", "b.jpg,1,1,0,0,"]
        page.press(3, "m")
        page.press(2, "1")
        assert page.undo() == (200, {"index": 2, "label": {"faults": None, "sex": None}})
    with running(folder) as page:
        state = page.state()
        assert state["start"] == 2
        assert [each["label"]["sex"] for each in state["pictures"]] == [None, None, None, "male"]
        assert page.undo() == (409, "nothing to undo\n")
        page.press(2, "1")
        page.press(3, "1")
        assert page.state()["start"] == 3
    assert (folder / "labels.csv").read_text().endswith("d.bmp,0,0,0,0,male\n")
    (folder / "labels.csv").unlink()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_pictures_are_given_out_by_number_only(folder: Path) -> None:
    with running(folder) as page:
        for index, kind in enumerate(["png", "jpeg", "webp", "bmp"]):
            status, headers, body = page.get(f"picture/{index}")
            assert (status, headers["Content-Type"]) == (200, f"image/{kind}")
            assert body == (folder / NAMES[index]).read_bytes()
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        for path in (
            *("picture/4", "picture/-1", "picture/a.png", "picture/0/../secret.txt", "secret.txt"),
            *("../secret.txt", "picture/%2e%2e%2fsecret.txt", "picture/", "/etc/hostname"),
            *("picture/999999999", "picture/9999999999", "picture/%D9%A1"),
        ):
            assert page.get(path)[0] == 404, path
        (folder / "a.png").unlink()
        assert page.get("picture/0")[0] == 404


def test_the_page_runs_its_own_script_and_nothing_else(folder: Path) -> None:
    with running(folder) as page:
        status, headers, body = page.get("")
    text = body.decode()
    assert (status, text) == (200, PAGE)
    policy = dict(part.strip().split(" ", 1) for part in headers[POLICY].split(";"))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in headers[POLICY]
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not re.findall(r"https?://|//[a-z]+\.|\bon[a-z]+=|style=", text)
    assert set(re.findall(r'data-fault="(\w+)"', text)) == set(FAULTS)
    assert set(re.findall(r'data-key="(\w)"', text)) == set(KEYS)


def test_only_this_machines_names_are_answered(folder: Path) -> None:
    with running(folder) as page:
        for host in (f"127.0.0.1:{page.port}", f"localhost:{page.port}", "localhost"):
            assert page.get("state", Host=host)[0] == 200
        for host in ("evil.example", f"evil.example:{page.port}", "127.0.0.1.evil.example", "::1"):
            for path in ("", "state", "picture/0"):
                assert page.get(path, Host=host)[0] == 403, host
            body = {"run": page.run, "index": 0, "key": "1"}
            assert page.post("press", body, Host=host)[0] == 403
        assert not (folder / "labels.csv").exists()


def test_other_pages_of_the_browser_cannot_write(folder: Path) -> None:
    with running(folder) as page:
        body = {"run": page.run, "index": 0, "key": "1"}
        for origin in ("http://evil.example", "null", f"https://127.0.0.1:{page.port}"):
            assert page.post("press", body, Origin=origin)[0] == 403
        assert page.post("press", body, **{"Content-Type": "text/plain"})[0] == 415
        assert page.post("press", {**body, "run": "old"})[0] == 409
        assert page.get("press")[0] == 404
        assert not (folder / "labels.csv").exists()
        assert page.post("press", body, Origin=f"http://127.0.0.1:{page.port}")[0] == 200


def test_wrong_requests_change_nothing(folder: Path) -> None:
    with running(folder) as page:
        for index, key in [(4, "1"), (-1, "1"), (True, "1"), ("0", "1"), (None, "1"), (0, "6")]:
            assert page.press(index, key)[0] == 400
        for key in ("", "12", 1, None, [], {}):
            assert page.press(0, key)[0] == 400
        for body in (b"", b"{", b"\xff", b"[" * 200):
            assert page.post("press", body)[0] == 400
        assert page.post("press", [])[0] == 409
        assert page.post("elsewhere", {"run": page.run})[0] == 404
        for length in ("257", "-1", "x", "9" * 30):
            connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=20)
            connection.putrequest("POST", "/press")
            connection.putheader("Content-Length", length)
            connection.endheaders()
            assert connection.getresponse().status == 413
            connection.close()
        assert not (folder / "labels.csv").exists()
        assert page.press(0, "1")[0] == 200


def test_a_label_that_is_not_saved_is_reported(folder: Path) -> None:
    with running(folder) as page:
        page.press(0, "1")
        (folder / "labels.csv").write_text("mine")
        status, why = page.press(1, "1")
        assert status == 500
        assert why.startswith("not saved: ")
        assert len(why.splitlines()) == 1
        assert page.state()["start"] == 1
    assert (folder / "labels.csv").read_text() == "mine"


def test_presses_at_the_same_time_are_all_kept(folder: Path) -> None:
    with running(folder) as page, ThreadPoolExecutor(8) as pool:
        presses = [(index, key) for index in range(4) for key in "2345f"]
        statuses = list(pool.map(lambda press: page.press(*press)[0], presses))
    assert statuses == [200] * 20
    rows = (folder / "labels.csv").read_text().splitlines()[1:]
    assert rows == [f"{name},1,1,1,1,female" for name in NAMES]


def test_a_browser_that_leaves_is_no_error(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Image.effect_noise((1500, 1500), 99).save(folder / "a.png")
    with running(folder) as page:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", page.port)) as left:
                left.sendall(b"GET /picture/0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                left.recv(1)
        assert page.get("picture/0")[0] == 200
    assert capfd.readouterr().err == ""


def test_files_are_named_from_the_tables_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "deep").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "deep" / "e.png")
    (tmp_path / "link").symlink_to(folder)
    out = tmp_path / "tables" / "mine.csv"
    with running(tmp_path / "link", out, recursive=True) as page:
        assert page.state()["pictures"][4]["name"] == "deep/e.png"
        page.press(4, "5")
    (named,) = read_labels(out)
    assert named == "../pictures/deep/e.png"
    assert (out.parent / named).is_file()
    assert not (folder / "labels.csv").exists()
