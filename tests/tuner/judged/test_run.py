"""`tuner judge` on a real base of random weights: a real study of existing files, in seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.tuner.judged.loras import write_loras, write_world
from tuner.cli.app import app
from tuner.errors import ConfigError
from tuner.events import Event, Phase, RungScored, TrialEnded, TrialStarted
from tuner.judged import JudgeOptions, find_files, judged_study, run_judged
from tuner.models import read_file
from tuner.report.judged import answer_lines
from tuner.results import read_results
from tuner.results.judged import read_judged, trial_file
from tuner.storage import Store, StudyFolder

pytestmark = pytest.mark.slow

STRENGTHS = (0.5, 1.0)


def judged_in(
    folder: Path, files: Sequence[Path], world: Path, strengths: Sequence[float] = STRENGTHS
) -> list[Event]:
    """Judge `files` in the study `folder` and return the events."""
    options = JudgeOptions(str(world / "tiny"), suite=str(world / "suite.yaml"))
    found = find_files(files)
    study = judged_study(options, found)
    return list(run_judged(study.config, StudyFolder(folder), found.files, strengths))


def ended(events: Sequence[Event]) -> list[int]:
    return [event.trial for event in events if isinstance(event, TrialEnded)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    write_loras(folder / "run", str(folder / "tiny"), {"me-000001": 1, "me-000002": 2, "me": 8})
    return folder


@pytest.fixture(scope="module")
def first(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFolder, list[Event]]:
    """A study of two files, the second of which was judged in a second call."""
    folder = tmp_path_factory.mktemp("studies") / "judge"
    files = sorted((world / "run").iterdir())
    events = judged_in(folder, files[:2], world)
    return StudyFolder(folder), events


def test_every_file_is_judged_at_every_strength_against_one_base(
    first: tuple[StudyFolder, list[Event]],
) -> None:
    folder, events = first
    scored = [event.trial for event in events if isinstance(event, RungScored)]
    assert scored == [None, 0, 1, 2, 3]
    judged = read_judged(folder)
    assert [(row.file.step, row.file.strength) for row in judged.rows] == [
        (1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0),
    ]  # fmt: skip
    effects = [row.measures["effect"].value or 0.0 for row in judged.rows]
    assert effects[3] > effects[0]
    assert all(row.gain is not None for row in judged.rows if row.state == "complete")
    lines = answer_lines(folder, judged)
    assert lines[0].startswith("take me") or "no file to take" in lines[0]


def test_the_noise_is_the_same_for_all(first: tuple[StudyFolder, list[Event]]) -> None:
    folder, _ = first
    with Store(folder.results_db, read_only=True) as store:
        cells = [
            [(row.cell, row.prompt.text, row.seed) for row in store.samples(trial, step)]
            for trial, step in ((None, 0), (0, 1), (3, 2))
        ]
    assert cells[0] == cells[1] == cells[2]


def test_a_second_call_judges_only_the_file_that_is_new(
    first: tuple[StudyFolder, list[Event]], world: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(first[0].root, tmp_path / "again")
    assert judged_in(folder, [world / "run"], world, (1.0,)) != []
    rows = read_results(StudyFolder(folder)).trials
    assert [trial_file(row).step for row in rows if trial_file(row)] == [1, 1, 2, 2, 8]  # type: ignore[union-attr]
    assert judged_in(folder, [world / "run"], world, (1.0,)) == []


def test_a_stop_in_the_middle_loses_the_running_trial_only(world: Path, tmp_path: Path) -> None:
    options = JudgeOptions(str(world / "tiny"), suite=str(world / "suite.yaml"))
    found = find_files([world / "run"])
    study, folder = judged_study(options, found), StudyFolder(tmp_path / "stopped")
    with closing(run_judged(study.config, folder, found.files, (1.0,))) as events:
        for event in events:
            if isinstance(event, TrialStarted) and event.trial == 1:
                break
    states = [row.state for row in read_results(folder).trials]
    assert states[1:] == ["interrupted"]
    more = list(run_judged(study.config, folder, found.files, (1.0,)))
    assert ended(more) == [1, 2]
    assert not [event for event in more if isinstance(event, Phase) and event.name == "base"]


def test_a_file_that_does_not_fit_is_refused_and_the_others_go_on(
    world: Path, tmp_path: Path
) -> None:
    good = sorted((world / "run").iterdir())[0]
    wide = {name: torch.cat([each, each], -1) if each.ndim == 2 and "lora_down" in name else each
            for name, each in load_file(good).items()}  # fmt: skip
    save_file(wide, tmp_path / "wide.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(good.read_bytes()[:300])
    shutil.copy(good, tmp_path / "same.safetensors")
    shutil.copy(good, tmp_path / "good.safetensors")
    places = [tmp_path / f"{name}.safetensors" for name in ("good", "wide", "cut", "same")]
    found = find_files(places)
    assert {each.path.stem for each in found.refused} == {"cut", "same"}
    judged_in(tmp_path / "study", places, world, (1.0,))
    rows = read_results(StudyFolder(tmp_path / "study")).trials
    by_name = {str(row.parameters["file"]): row for row in rows}
    assert by_name["wide"].state == "failed"
    assert by_name["wide"].reason
    assert by_name["good"].state != "failed"


def test_nothing_to_judge_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        find_files([tmp_path / "none"])
    with pytest.raises(ConfigError, match=r"no \.safetensors file"):
        find_files([tmp_path])


def test_the_command_answers_confirms_and_exports(world: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> str:
        done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    study = tmp_path / "study"
    options = ["--base", world / "tiny", "--suite", world / "suite.yaml", "--out", study]
    printed = run("judge", world / "run", *options, "--strengths", "0.5,0.75,1", "--json")
    documents = {each["event"]: each for each in map(json.loads, printed.splitlines())}
    winner = documents["answer"]["winner"]
    assert winner["file"]["name"].startswith("me")
    assert len(documents["answer"]["rows"]) == 9
    assert {each["axis"] for each in documents["answer"]["curves"]} == {"step", "strength"}
    page = Path(documents["study_ended"]["report"]).read_text("utf-8")
    assert "Take me" in page
    assert 'id="strength"' in page
    assert "take me" in run("status", study)
    again = run("judge", world / "run", *options, "--strengths", "0.5,0.75,1")
    assert "take me" in again
    run("confirm", study, "--samples", "6", "--trials", "1")
    trial = next(
        row["trial"] for row in documents["answer"]["rows"] if row["file"]["strength"] == 0.5
    )
    run("export", study, "--trial", trial, "-o", tmp_path / "half.safetensors")
    run("export", study, "--trial", trial, "--as-it-was", "-o", tmp_path / "whole.safetensors")
    half, whole = (read_file(tmp_path / f"{name}.safetensors") for name in ("half", "whole"))
    for name, module in whole.modules.items():
        torch.testing.assert_close(half.modules[name].update(), module.update() / 2)


def test_whole_checkpoints_are_judged_against_the_base(world: Path, tmp_path: Path) -> None:
    other = shutil.copytree(world / "tiny", tmp_path / "other")
    weights = next((other / "unet").glob("*.safetensors"))
    changed = {name: tensor * 1.05 for name, tensor in load_file(weights).items()}
    save_file(changed, weights, {"format": "pt"})
    found = find_files([other], as_base=True)
    assert [file.name for file in found.files] == ["other"]
    options = JudgeOptions(str(world / "tiny"), suite=str(world / "suite.yaml"), as_base=True)
    study, folder = judged_study(options, found), StudyFolder(tmp_path / "study")
    list(run_judged(study.config, folder, found.files, (1.0,)))
    [row] = read_judged(folder).rows
    assert row.state != "failed", row.reason
    assert row.file.as_base
    assert (row.measures["effect"].value or 0.0) > 0


def test_a_file_whose_words_name_a_child_is_left_out(world: Path, tmp_path: Path) -> None:
    told = {"modelspec.trigger_phrase": "little girl"}
    write_loras(tmp_path / "run", str(world / "tiny"), {"bad": 1}, told)
    with pytest.raises(ConfigError, match="name a child"):
        find_files([tmp_path / "run"])


def test_what_it_changes_without_the_alias_is_measured_on_the_same_noise(
    world: Path, tmp_path: Path
) -> None:
    named = {"modelspec.trigger_phrase": "mi_cv"}
    write_loras(tmp_path / "run", str(world / "tiny"), {"me": 4}, named)
    found = find_files([tmp_path / "run"])
    options = JudgeOptions(str(world / "tiny"), suite=str(world / "suite.yaml"))
    study, folder = judged_study(options, found), StudyFolder(tmp_path / "study")
    assert "mi_cv" in study.notes[0]
    list(run_judged(study.config, folder, found.files, (1.0,)))
    [row] = read_judged(folder).rows
    leak, effect = row.measures["alias_leak"], row.measures["alias_effect"]
    assert leak.value is not None
    assert effect.value is not None
    assert 0 < leak.value < 1
    assert leak.n == effect.n == 2  # a third of the suite's six cells
