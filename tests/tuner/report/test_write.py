from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metrics.contract import Prompt
from tests.tuner.report_studies import PROMPTS, multiplied, new_study, put_samples, put_trial
from tuner.cli.app import app
from tuner.report import write_report
from tuner.storage import Store, StudyFolder, locked

SECTIONS = ["answer", "front", "wall", "judges", "parameters", "course", "record"]
EVIL = "</script><img src=x onerror=alert(1)>&amp;\"'\u2028{{ 7*7 }}<!--"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """The elements of a page, the texts outside scripts and styles, and the page's facts."""

    def __init__(self, folder: StudyFolder) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside = ""
        self.facts: dict = {}
        self.feed(write_report(folder).read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else ""
        if tag == "script" and dict(attrs).get("id") == "facts":
            self.inside = "facts"

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "facts":
            self.facts = json.loads(data)
        elif not self.inside and data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def sections(self) -> list[str | None]:
        return [values.get("id") for tag, values in self.tags if tag == "section"]

    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.facts["points"]]


@pytest.fixture
def folder(made: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of that study, in a folder of its name."""
    return StudyFolder(shutil.copytree(made.root, tmp_path / made.root.name))


@pytest.fixture(scope="module")
def page(made: StudyFolder) -> Page:
    """Its page, for tests that only read."""
    return Page(made)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study of seven trials in every state, with a base."""
    folder = new_study(tmp_path_factory.mktemp("made"), budget=7)
    put_samples(folder, None, 0, 0.6)
    put_trial(folder, 0, good=0.95)
    put_trial(folder, 1, good=0.2)
    put_trial(folder, 2, good=0.7)
    put_trial(folder, 3, "infeasible", 0.8, "undressed_rate is at least 0.30, allowed 0.15")
    put_trial(folder, 4, "pruned", 0.05, "collapsed: 6 of 6 samples show nothing but one colour")
    put_trial(folder, 5, "running")
    put_trial(folder, 6, "stopped", 0.4, "behind at step 10: place 4 of 6, the best 3 go on")
    return folder


def test_the_page_is_one_file_that_asks_for_nothing(made: StudyFolder, page: Page) -> None:
    for tag, values in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "background"):
            value = values.get(name) or ""
            assert not value or value.startswith(("data:image/webp;base64,", "#")), (tag, value)
        assert tag not in ("link", "iframe", "object", "embed", "base")
    (policy,) = [v["content"] for t, v in page.tags if t == "meta" and "http-equiv" in v]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data: blob:;")
    text = made.report.read_text(encoding="utf-8")
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles
    assert text.count("plotly.js v") == 1
    assert text.count("</html>") == 1


def test_every_section_is_there_with_its_heading(made: StudyFolder, page: Page) -> None:
    assert page.sections == SECTIONS
    ids = {values["id"] for _, values in page.tags if values.get("id")}
    labels = [v["aria-labelledby"] for t, v in page.tags if t == "section"]
    assert all(label in ids for label in labels)
    for words in (
        "Take trial 0", f"tuner export {made.root} --trial 0 -o pose.safetensors",
        "6 of 7 trials", "pose_readable", "Can a pose be read?", "not enough evidence",
        "collapsed", "behind at step 10", "undressed_rate over the limit", "sha256 abc",
        "tuner 0.1.0", f"tuner run {made.study_yaml} --studies again", "step 10",
    ):  # fmt: skip
        assert words in page.text, words


def test_states_are_told_apart_on_the_front(page: Page) -> None:
    kinds = page.kinds()
    assert kinds[0] == "base"
    assert kinds.count("chosen") == 1
    assert {"infeasible", "stopped", "pruned", "running"} <= set(kinds)
    chosen = next(one for one in page.facts["points"] if one["kind"] == "chosen")
    assert chosen["key"] == "0"
    assert "rank 4" in chosen["hover"]
    value, low, high = chosen["numbers"]["pose"]
    assert low <= value <= high


def test_flawed_samples_are_framed_named_and_drawn(page: Page) -> None:
    cells = [v for t, v in page.tags if t == "button" and "cell" in (v.get("class") or "")]
    flawed = [one for one in cells if "flawed" in (one["class"] or "")]
    assert 0 < len(flawed) < len(cells)
    assert any("extra limb" in (one["aria-label"] or "") for one in flawed)
    drawn = [v for t, v in page.tags if t == "path" and v.get("class") == "bones" and v["d"]]
    boxes = [v for t, v in page.tags if t == "path" and v.get("class") == "box" and v["d"]]
    assert drawn
    assert any(one["d"] == "M6.4 12.8H19.2V25.6H6.4Z" for one in boxes)
    # One sample of the wall is on the way of the tab key, the arrows reach the others.
    wall = [one for one in cells if one["tabindex"] == "0" and one["data-k"] == "base"]
    assert wall


def test_the_same_cell_stands_in_the_same_column(page: Page) -> None:
    columns: dict[str | None, set[str | None]] = {}
    for tag, values in page.tags:
        if tag == "button" and values.get("tabindex") == "-1":
            columns.setdefault(values["data-x"], set()).add(values["data-c"])
    assert len(columns) == 2 * len(PROMPTS)
    assert all(len(cells) == 1 for cells in columns.values())


def test_a_study_that_was_only_begun_has_a_page(tmp_path: Path) -> None:
    folder = new_study(tmp_path)
    with folder.study_yaml.open("a", encoding="utf-8") as file:
        file.write("hypotheses: []\n")  # recipes without them
    page = Page(folder)
    assert page.sections == SECTIONS
    assert "No LoRA to take yet" in page.text
    assert page.facts["points"] == []


def test_a_study_with_only_its_base_has_a_page(tmp_path: Path) -> None:
    folder = new_study(tmp_path)
    put_samples(folder, None, 0, 0.6)
    page = Page(folder)
    assert page.sections == SECTIONS
    assert page.kinds() == ["base"]
    assert "the base alone" in page.text
    assert list(page.facts["samples"]) == ["base"]


def test_a_study_whose_trials_were_all_pruned_has_a_page(tmp_path: Path) -> None:
    folder = new_study(tmp_path)
    put_samples(folder, None, 0, 0.6)
    for number in range(3):
        put_trial(folder, number, "pruned", 0.0, "collapsed: 6 of 6 samples show one colour")
    with Store(folder.results_db) as store:
        store.begin_trial(3, {"rank": 4})
        store.end_trial(3, "pruned", "diverged: the loss is nan", 5.0)
    page = Page(folder)
    assert page.sections == SECTIONS
    assert "No LoRA to take yet" in page.text
    assert page.kinds() == ["base", "pruned", "pruned", "pruned"]
    assert "numbers" not in page.facts["trials"]["3"]


def test_a_study_without_its_base_or_its_pictures_has_a_page(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store._db.table("rungs").delete_where("trial = -1")
    shutil.rmtree(folder.trial(0).root)
    page = Page(folder)
    assert page.sections == SECTIONS
    assert "base" not in page.kinds()
    assert page.texts.count("gone") >= 6


def test_a_running_study_is_only_read(folder: StudyFolder) -> None:
    before = folder.results_db.read_bytes()
    stamp = folder.results_db.stat().st_mtime_ns
    with locked(folder.lock):
        page = Page(folder)
    assert "6 of 7 trials, running" in page.text
    assert folder.results_db.read_bytes() == before
    assert folder.results_db.stat().st_mtime_ns == stamp


def test_odd_names_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    folder = new_study(tmp_path, **{EVIL: EVIL})
    prompts = (Prompt(EVIL, "female"), Prompt(EVIL + "2", "male"))
    put_samples(folder, None, 0, 0.5, prompts)
    put_trial(folder, 0, "complete", 0.9, EVIL, {EVIL: EVIL, "rank": 8}, prompts=prompts)
    put_trial(folder, 1, "pruned", 0.1, EVIL, {EVIL: "other", "rank": 4}, prompts=prompts)
    folder.study_yaml.write_text(f"# data {EVIL}: sha256 {EVIL}\n")
    page = Page(folder)
    assert page.sections == SECTIONS
    assert not [values for tag, values in page.tags if values.get("onerror") or tag == "x"]
    assert not [values for _, values in page.tags if values.get("src") == "x"]
    assert page.facts["cells"]["0"][0] == EVIL
    assert page.facts["trials"]["0"]["reason"] == EVIL
    # Plotly reads tags in what it shows.
    hover = page.facts["points"][1]["hover"]
    assert set(re.findall(r"<[^>]*>", hover)) == {"<br>"}
    assert "&lt;img" in hover


def test_a_database_of_another_version_has_a_page(folder: StudyFolder) -> None:
    with Store(folder.results_db) as store:
        store._db.table("scores").delete_where("judge = ?", ["one_person"])
        store._db.execute("update scores set evidence = '{}'")
    page = Page(folder)
    assert page.sections == SECTIONS
    assert not [v for t, v in page.tags if t == "path" and v.get("class") == "bones"]


def test_the_command_writes_the_page_beside_the_results(folder: StudyFolder) -> None:
    done = CliRunner().invoke(app, ["report", "pose", "--studies", str(folder.root.parent)])
    assert (done.exit_code, done.stdout) == (0, f"{folder.report}\n")
    assert folder.report.stat().st_size > 1e6
    other = CliRunner().invoke(app, ["report", "nope", "--studies", str(folder.root.parent)])
    assert (other.exit_code, other.stdout) == (3, "")
    assert "there: pose" in other.stderr


@pytest.mark.slow
def test_300_trials_are_reported_in_20_seconds_and_20_megabytes(tmp_path: Path) -> None:
    prompts = tuple(Prompt(f"1girl, pose {n}", "female") for n in range(26))
    folder = new_study(tmp_path, budget=300)
    put_samples(folder, None, 0, 0.5, prompts, size=512)
    put_trial(folder, 0, good=0.7, prompts=prompts, size=512)
    multiplied(folder, 0, 300)
    began = time.process_time()
    page = Page(folder)
    # The processor's seconds: what else the machine does is not the report's.
    assert time.process_time() - began < 20
    assert folder.report.stat().st_size < 20e6
    assert len(page.facts["points"]) == 301
    assert all(page.facts["samples"][str(n)] for n in range(300))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page with")
def test_a_browser_draws_the_page_and_finds_no_error(folder: StudyFolder, tmp_path: Path) -> None:
    path = write_report(folder)
    drawn, console = opened(path, tmp_path)
    assert not console
    assert drawn.count('class="main-svg"') >= 3
    # Eight on the front, six that are over beside a parameter, seven in the course.
    assert len(re.findall(r'class="point[ "]', drawn)) >= 21
    # The page's policy stops and reports what would leave this machine, so silence means none.
    asking = tmp_path / "asking.html"
    picture = '<body><img src="http://127.0.0.1:9/x.png">'
    asking.write_text(path.read_text(encoding="utf-8").replace("<body>", picture, 1))
    _, console = opened(asking, tmp_path)
    assert "http://127.0.0.1:9/x.png" in console


def opened(path: Path, profile: Path) -> tuple[str, str]:
    """The page's elements after its scripts ran, and what the browser's console said."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={profile / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
            path.absolute().as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(lines)
