"""What programs read on stdout: one object a line, documented field by field."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from metrics.contract import Measure, Objective
from tests.tuner.plain_trials import good, new_folder, session, study_config
from tests.tuner.report_studies import new_study, put_samples, put_trial
from tuner.cli.app import app
from tuner.cli.errors import user_errors
from tuner.cli.follow import Printing, _conclude, begin_printing
from tuner.cli.json_lines import event_document, line, write_events
from tuner.cli.live import View
from tuner.errors import DiskError
from tuner.events import Event, Progress, RungScored, TrialEnded, TrialStarted, Warned
from tuner.report.documents import confirmation_document, front_document
from tuner.results import read_results
from tuner.storage import Store, StudyFolder
from tuner.storage.fresh_rows import PlanRow
from tuner.study.check import CheckReport
from tuner.study.study import search

ROOT = Path(__file__).resolve().parents[3]
EVENTS = typing.get_args(Event)


def documented(heading: str) -> dict[str, list[str]]:
    """The names in the table under `heading` of docs/commands.md, with the fields of each."""
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    section = page.partition("## JSON for programs\n")[2].partition("\n## ")[0]
    table = section.partition(f"| {heading}")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([\w ]+)` \| (.*) \|$", table, flags=re.MULTILINE)
    return {name: re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", text)) for name, text in rows}


def written(events: list[Event], times: Iterator[float]) -> list[dict[str, Any]]:
    lines: list[str] = []
    view = View("pose", 12, ("pose",))
    write_events(view, events, lambda value: lines.append(line(value)), lambda: next(times))
    assert all("\n" not in text for text in lines)
    return [json.loads(text) for text in lines]


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_is_in_the_documents_with_its_fields(kind: type) -> None:
    table = documented("`event`")
    values = dict.fromkeys((part.name for part in fields(kind)), None)
    name = event_document(kind(**values))["event"]
    assert isinstance(name, str)
    known = [field for field in table[name] if field in values or name != "phase"]
    assert known == list(values)


def test_an_event_is_a_line_of_plain_values() -> None:
    nan, grid = math.nan, Path("studies/pose/grid.png")
    pose = Objective("pose", nan, 0.1, 0.2, 0, 10)
    effect = Measure("effect", None, None, None, 0, 3, "none")
    events: list[Event] = [
        TrialStarted(3, {"rank": 8, "alias": None, "captions": "\udcff \u5199"}),
        RungScored(3, 20, {"pose": pose}, {}, grid, None, {"effect": effect}),
        TrialEnded(3, "pruned", "diverged"),
    ]
    begun, scored, ended = written(events, iter([]))
    assert begun["parameters"] == {"rank": 8, "alias": None, "captions": "\ufffd \u5199"}
    assert scored["event"] == "rung_scored"
    assert scored["objectives"]["pose"] == {
        **{"name": "pose", "value": None, "low": 0.1, "high": 0.2, "n": 0, "total": 10}
    }
    assert scored["measures"]["effect"]["note"] == "none"
    assert (scored["grid"], scored["lora"]) == ("studies/pose/grid.png", None)
    assert ended == {"event": "trial_ended", "trial": 3, "state": "pruned", "reason": "diverged"}


def test_progress_comes_at_most_once_a_second_for_each_trial() -> None:
    events: list[Event] = [
        Progress(done, 20, 4.0, 0.25, trial=trial) for done in range(4) for trial in (0, 1)
    ]
    events.append(Warned("the end"))
    lines = written(events, iter([0.0, 0.1, 0.5, 0.6, 1.0, 1.05, 1.5, 1.6]))
    places = [(each["done"], each["trial"]) for each in lines[:-1]]
    assert places == [(0, 0), (0, 1), (2, 0), (3, 1)]
    assert lines[-1] == {"event": "warned", "text": "the end"}


@pytest.mark.slow
def test_a_study_is_told_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    config, folder = study_config(tmp_path), new_folder(tmp_path)
    lines: list[dict[str, Any]] = []
    printing = Printing(write=lambda value: lines.append(json.loads(line(value))))
    view = View(config.study, 3, config.objectives)
    begin_printing(view, folder, config.base, printing)
    with session(config, folder) as study:
        assert printing.write is not None
        write_events(view, search(study, good(folder)), printing.write)
    _conclude(folder, True, printing)
    names = [each["event"] for each in lines]
    assert names[:5] == ["study_begun", "trial_started", "phase", "progress", "rung_scored"]
    assert names[-3:] == ["trial_ended", "front", "study_ended"]
    table = documented("`event`")
    for each in (lines[0], lines[-1]):
        assert set(each) == {"event", *table[each["event"]]}
    assert lines[-2]["trials"][0]["number"] == 2
    assert {one["trial"] for one in lines if one["event"] == "progress"} == {0, 1, 2}
    assert Path(lines[-1]["report"]).is_file()


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = new_study(tmp_path)
    put_samples(folder, None, 0, 0.3)
    put_trial(folder, 0)
    return tmp_path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_a_status_is_one_documented_object(studies: Path) -> None:
    done = run("status", "pose", "--studies", studies, "--json")
    assert (done.exit_code, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    whole = json.loads(done.stdout)
    table = documented("command")
    assert {"studies", *whole} == {*table["tuner status"], *table["tuner status STUDY"]}
    assert [rung["step"] for rung in whole["trials"][0]["rungs"]] == [10, 20]
    assert whole["front"] == [0]
    assert whole["confirmation"] is None
    folder = StudyFolder(studies / "pose")
    (best,) = json.loads(line(front_document(folder, read_results(folder))))["trials"]
    assert (best["number"], best["rung"]) == (0, whole["trials"][0]["rungs"][-1])
    short = json.loads(run("status", "--studies", studies, "--json").stdout)
    (state,) = short["studies"]
    assert ["studies", *state] == table["tuner status"]
    assert state == {name: whole[name] for name in state}


def test_a_confirmation_and_a_check_have_the_documented_fields(studies: Path) -> None:
    folder = StudyFolder(studies / "pose")
    with Store(folder.results_db) as store:
        store.put_plan([PlanRow(0, 20, 1, 2, "2026-01-01T00:00:00+00:00")])
    begun = confirmation_document(folder, read_results(folder))
    assert begun is not None
    assert list(begun) == documented("`event`")["confirmation"]
    assert (begun["done"], begun["planned"], begun["winner"]) == (0, 3, None)
    report = ["study", "folder", *(part.name for part in fields(CheckReport))]
    assert report == documented("command")["tuner check"]


def test_an_error_is_a_line_of_json_beside_the_line_for_people(studies: Path) -> None:
    StudyFolder(studies / "broken").create()
    (studies / "broken" / "results.db").write_bytes(b"no database")
    done = run("status", "--studies", studies, "--json")
    states, error = map(json.loads, done.stdout.splitlines())
    assert [each["study"] for each in states["studies"]] == ["pose"]
    assert (error["event"], error["exit_code"], done.exit_code) == ("error", 3, 3)
    assert done.stderr == f"error: {error['message']}\n"


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (DiskError("full"), "full", 74),
        (KeyboardInterrupt(), "stopped", 130),
        (AssertionError("a bug"), "AssertionError: a bug", 1),
    ],
)
def test_every_end_is_a_line(
    error: BaseException, message: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BaseException) as raised, user_errors(json=True):  # noqa: PT011, PT012
        print("for people")
        raise error
    assert getattr(raised.value, "exit_code", 1) == code
    output = capsys.readouterr()
    assert json.loads(output.out) == {"event": "error", "message": message, "exit_code": code}
    assert output.err.startswith("for people\n")


@pytest.mark.slow
def test_what_libraries_print_on_the_descriptor_goes_to_stderr() -> None:
    script = (
        "import os, subprocess\n"
        "from tuner.cli.errors import user_errors\n"
        "with user_errors(json=True) as write:\n"
        "    os.write(1, b'library\\n'); subprocess.run(['echo', 'process']); print('python')\n"
        "    write({'value': float('nan')})\n"
        "print('after')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == '{"value": null}\nafter\n'
    assert done.stderr == "library\nprocess\npython\n"
