"""What is told of a confirmation: by export, on the terminal, in the report."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metrics.contract import Measure, ScoredSample
from metrics.objectives import objectives, rates
from tests.tuner.report_studies import new_study, put_samples, put_trial
from tests.tuner.study.simulated import USUAL, samples
from tuner.cli.json_lines import line
from tuner.errors import ConfigError
from tuner.report import write_report
from tuner.report.documents import confirmation_document
from tuner.report.summary import print_confirmation, print_next
from tuner.results import read_confirmation, read_results, read_study_data
from tuner.results.answer import answer
from tuner.results.confirmation import chosen, winner_lines
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import RungFolder
from tuner.storage.fresh_rows import FreshRow, PlanRow
from tuner.storage.rows import RungRow

GOOD = USUAL | {"limbs": 0.97, "dressed": 0.98}
DRESSED = USUAL | {"dressed": 0.98}


@pytest.fixture
def folder(made: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of that study."""
    return StudyFolder(shutil.copytree(made.root, tmp_path / made.root.name))


@pytest.fixture
def confirmed(ended: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of it whose trial 0, the one of GOOD, won its confirmation."""
    return StudyFolder(shutil.copytree(ended.root, tmp_path / "confirmed" / ended.root.name))


@pytest.fixture(scope="module")
def ended(made: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    root = tmp_path_factory.mktemp("ended") / made.root.name
    folder = StudyFolder(shutil.copytree(made.root, root))
    confirm(folder, GOOD, DRESSED)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Trials 0 and 1; 1 is the strongest on the study's own noise."""
    folder = new_study(tmp_path_factory.mktemp("made"))
    put_samples(folder, None, 0, 0.5)
    put_trial(folder, 0, good=0.6)
    put_trial(folder, 1, good=0.9)
    return folder


def confirm(
    folder: StudyFolder,
    *chances: dict[str, float],
    repeats: int = 2,
    effects: tuple[float, ...] = (0.4, 0.4),
    missing: int = 0,
) -> None:
    """Fresh samples of trials 0 and on, all but the last `missing` parts of them."""
    rng = np.random.default_rng(0)
    base = samples(rng, USUAL)
    plan = [PlanRow(number, 20, repeats, 8, "x") for number in range(len(chances))]
    parts = [(None, 0, 0)]
    parts += [(number, 20, at) for number in range(len(chances)) for at in range(repeats + 1)]
    with Store(folder.results_db) as store:
        store.put_plan(plan)
        for trial, step, repeat in parts[: len(parts) - missing]:
            drawn = base if trial is None else samples(rng, chances[trial])
            effect = 0.0 if trial is None else effects[trial]
            store.put_fresh(*measured(folder, trial, step, repeat, drawn, base, effect))


def measured(  # noqa: PLR0913
    folder: StudyFolder,
    trial: int | None,
    step: int,
    repeat: int,
    drawn: list[ScoredSample],
    base: list[ScoredSample],
    effect: float,
) -> tuple[FreshRow, list[ScoredSample]]:
    files = RungFolder(folder.fresh_base)
    if trial is not None:
        files = folder.repeat(trial, step, repeat).rung(step)
    kept = [
        replace(one, sample=replace(one.sample, path=files.sample(at)))
        for at, one in enumerate(drawn)
    ]
    measures = {"effect": Measure("effect", effect, effect, effect, 104, 104)}
    row = RungRow(trial, step, objectives(kept, base), rates(kept), None, files.grid, measures)
    return FreshRow(row, repeat, repeat, 8), kept


def lines_of(folder: StudyFolder) -> list[str]:
    found = read_confirmation(folder, read_results(folder))
    assert found is not None
    return winner_lines(found)


def test_programs_read_the_winner_and_what_it_gains(confirmed: StudyFolder) -> None:
    document = confirmation_document(confirmed, read_results(confirmed))
    assert document is not None
    told = json.loads(line(document))
    assert told["winner"] == {"trial": 0, "step": 20}
    first, *_ = told["ranked"]
    assert first["candidate"] == told["winner"]
    assert first["strength"]["low"] < first["strength"]["value"]
    assert told["gain"]["low"] > 0
    assert told["reasons"][: len(lines_of(confirmed))] == lines_of(confirmed)


def test_without_a_confirmation_the_choice_says_so(folder: StudyFolder) -> None:
    choice = chosen(folder)
    assert (choice.trial, choice.step, choice.winner) == (1, None, None)
    assert "on the front" in choice.why[0]
    assert "not confirmed" in choice.why[1]
    assert f"tuner confirm {folder.root}" in choice.why[1]
    assert read_confirmation(folder, read_results(folder)) is None


def test_the_confirmed_winner_is_taken_and_its_numbers_are_the_fresh_ones(
    confirmed: StudyFolder,
) -> None:
    choice = chosen(confirmed)
    assert (choice.trial, choice.step) == (0, 20)
    assert choice.winner is not None
    assert choice.winner.objectives["pose"].total == 104
    assert "on 104 fresh samples" in choice.why[0]
    assert "clearly above 1 other trial" in choice.why[0]
    assert any(line.startswith("undressed_rate: at most 0.") for line in choice.why)
    assert any(line.startswith("better than the base") for line in choice.why)


def test_a_tie_is_reported_as_a_tie(folder: StudyFolder) -> None:
    confirm(folder, DRESSED, DRESSED)
    assert "cannot be distinguished from it" in lines_of(folder)[0]
    found = answer(read_study_data(folder))
    assert len(found.tied) == 1
    assert found.ranking is not None
    assert not found.ranking.single


def test_a_limit_that_is_not_shown_to_be_kept_is_reported(folder: StudyFolder) -> None:
    confirm(folder, GOOD | {"dressed": 0.85}, repeats=0)
    line = next(one for one in lines_of(folder) if one.startswith("undressed_rate"))
    assert "not shown to be kept" in line
    assert "the limit is 0.15" in line


def test_a_confirmed_trial_that_does_nothing_is_not_exported(folder: StudyFolder) -> None:
    confirm(folder, GOOD, DRESSED, repeats=0, effects=(0.01, 0.4))
    choice = chosen(folder)
    assert choice.trial == 1
    assert any("trial 0 at step 20 does nothing" in line for line in choice.why)
    confirm(folder, GOOD, DRESSED, repeats=0, effects=(0.01, 0.01))
    with pytest.raises(ConfigError, match=r"trial 1 at step 20 does nothing.*--trial"):
        chosen(folder)
    found = answer(read_study_data(folder))
    assert found.trial is None
    assert "does nothing" in found.why


def test_a_confirmation_that_was_stopped_names_nobody(folder: StudyFolder) -> None:
    confirm(folder, GOOD, DRESSED, missing=2)
    choice = chosen(folder)
    assert (choice.trial, choice.winner) == (1, None)
    assert "5 of 7 parts are done" in choice.why[1]
    assert answer(read_study_data(folder)).ranking is None


def test_the_answer_shows_noise_floor_and_recipe(
    folder: StudyFolder, confirmed: StudyFolder
) -> None:
    found = answer(read_study_data(confirmed))
    assert (found.trial, found.step) == (0, 20)
    pose = next(one for one in found.gains if one.name == "pose")
    assert pose.noise is not None
    assert 0 < pose.noise < 0.5
    assert pose.recipe is not None
    assert pose.recipe.total == 208
    assert pose.base is not None
    assert pose.base.total == 104
    assert pose.difference is not None
    assert pose.difference.pairs == 104
    confirm(folder, GOOD, DRESSED, repeats=0)
    bare = answer(read_study_data(folder))
    assert all(one.noise is None and one.recipe is None for one in bare.gains)


def test_the_report_shows_winner_ties_bounds_and_noise(
    folder: StudyFolder, confirmed: StudyFolder
) -> None:
    before = write_report(folder).read_text("utf-8")
    assert "Take trial 1, not confirmed" in before
    assert "tuner confirm" in before
    text = write_report(confirmed).read_text("utf-8")
    assert "Take trial 0</h2>" in text
    for words in ("noise floor", "The confirmed trials", "the winner", "fresh noise", "best in"):
        assert words in text
    assert "--trial 0 -o" not in text
    confirm(folder, DRESSED, DRESSED, repeats=0)
    tied = write_report(folder).read_text("utf-8")
    assert "or one of its ties</h2>" in tied
    assert "first of a tie" in tied
    assert "Nothing was trained again" in tied


def test_the_terminal_tells_it_too(
    folder: StudyFolder,
    confirmed: StudyFolder,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    print_confirmation(folder, read_results(folder))
    print_next(folder, read_results(folder), tmp_path)
    before = capsys.readouterr().out
    assert "not confirmed" in before
    assert "  tuner confirm pose\n" in before
    print_confirmation(confirmed, read_results(confirmed))
    print_next(confirmed, read_results(confirmed), tmp_path)
    after = capsys.readouterr().out
    assert "trial 0 at step 20 has the highest lower bound" in after
    gained = next(line for line in after.splitlines() if line.startswith("objective by objective"))
    better, similar = gained.split("; not distinguishable in ")
    gains = {gain.name: gain for gain in answer(read_study_data(confirmed)).gains}
    assert all((name in better) == gains[name].outcome.startswith("better") for name in gains)
    assert all((name in similar) == (gains[name].outcome[:3] == "not") for name in gains)
    assert "better in " in better
    assert "tuner confirm" not in after
