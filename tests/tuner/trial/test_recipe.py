"""A study of recipes that is really trained and sampled, in two parts, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import metrics
from benchmarks.join_parts import join
from metrics.contract import JudgeSettings
from metrics.detectors import Detectors
from tests.tuner.trained_study import by_brightness, keep_base
from tuner.cli.app import app
from tuner.data import TrainingSet
from tuner.errors import ConfigError
from tuner.events import Event
from tuner.models import BaseModel
from tuner.report import write_report
from tuner.report.summary import print_next
from tuner.results import read_results, read_series
from tuner.results.recipe_runs import read_runs
from tuner.space import TrainConfig, load_study
from tuner.space.config import rung_steps
from tuner.storage import Store, StudyFolder
from tuner.study.optuna_db import opened
from tuner.study.record import record_study
from tuner.study.study import Session, search
from tuner.trial import Rung, TrialWork, Workbench, trial
from tuner.trial.recipe import recipe_runner
from tuner.trial.setup import kept_base

SPACE = """
study: small
base: mannequin
data: mannequin
budget: {rungs: [1, 2]}
suite:
  {seeds: 2, steps: 2, prompts: [{text: 1girl, sex: female}, {text: 1boy, sex: male}]}
train: {rank: 2, batch_size: 2, resolution: 32, learning_rate: 3.0e-2}
training_seeds: SEEDS
recipes:
  plain: {captions: all}
  aliased: {captions: all, alias: mi_cv}
  aliased_large: {captions: all, alias: mi_cv, suite: {size: 96}}
hypotheses:
  - {number: 1, claim: more, arm: plain, against: base, measure: ground, expected: higher}
  - {number: 2, claim: less, arm: aliased, against: aliased@1, measure: quality, expected: lower}
"""


pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Parts:
    """Two parts of one study, with the training seeds 0 and 1, and the aliases that were trained
    in the first one, in order."""

    first: StudyFolder
    second: StudyFolder
    trained: list[str | None]


@pytest.fixture(scope="module")
def parts(
    base: BaseModel, training_set: TrainingSet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Parts]:
    root = tmp_path_factory.mktemp("recipes")
    trained: list[str | None] = []
    train = trial.train

    def counted(*arguments: Any) -> Any:
        trained.append(arguments[2].alias)
        return train(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "score", by_brightness)
        patch.setattr(trial, "train", counted)
        first = run_part(base, training_set, root / "a", 0)
        of_first = list(trained)
        second = run_part(base, training_set, root / "b", 1)
        yield Parts(first, second, of_first)


def run_part(base: BaseModel, training_set: TrainingSet, parent: Path, seed: int) -> StudyFolder:
    parent.mkdir()
    space = parent / "x.yaml"
    space.write_text(SPACE.replace("SEEDS", f"[{seed}]"))
    config, folder = load_study(space), StudyFolder(parent / "small")
    folder.create()
    bench = Workbench(
        base, {None: training_set}, config.suite, Detectors(JudgeSettings(domain="drawn"))
    )
    with opened(config, folder, {}) as memory, Store(folder.results_db) as store:
        record_study(config, folder, store, {})
        keep_base(bench, folder, store)
        known = replace(bench, base_scored=kept_base(folder))
        do = recipe_runner(known, config, folder, store)

        def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
            return do(TrialWork(number, train, rung_steps(train, config.budget)))

        list(search(Session(config, folder, memory, store), run))
    return folder


def test_recipes_are_sampled_as_they_state_and_share_their_training(parts: Parts) -> None:
    folder = parts.first
    assert parts.trained == [None, "mi_cv"]
    with Store(folder.results_db, read_only=True) as store:
        rows = {trial.number: store.samples(trial.number, 2) for trial in store.trials()}
        assert [trial.state for trial in store.trials()] == ["complete"] * 3
    assert rows[0][0].prompt.text == "1girl"
    assert rows[1][0].prompt.text == rows[2][0].prompt.text == "mi_cv, 1girl"
    assert folder.trial(1).rung(2).lora.read_bytes() == folder.trial(2).rung(2).lora.read_bytes()
    assert (folder.base_on("64x64_mi_cv") / "grid.png").is_file()
    assert (folder.base_on("96x96_mi_cv") / "grid.png").is_file()


def test_parts_with_other_seeds_count_together_and_can_be_joined(
    parts: Parts, tmp_path: Path
) -> None:
    both = [parts.first, parts.second]
    series = read_series(both)
    assert sorted(series.runs["plain", None]) == [0, 1]
    assert [
        comparison.difference.n for comparison in series.comparisons if comparison.difference
    ] == [2, 2]
    whole = StudyFolder(tmp_path / "whole")
    assert join(both, whole) == 6
    joined = read_series([whole])
    assert joined.comparisons == series.comparisons
    assert joined.config.training_seeds == (0, 1)
    with Store(whole.results_db, read_only=True) as store:
        paths = [row.path for trial in store.trials() for row in store.samples(trial.number, 2)]
    assert len(set(paths)) == 6 * 4
    assert all(path.is_file() for path in paths)
    assert "What the runs show" in write_report(whole).read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="with training seed 0 twice"):
        read_series([parts.first, whole])


def test_the_command_writes_the_verdicts_and_every_value(
    parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = parts.first
    out = ["--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["verdicts", str(folder.root), "--plain", *out])
    assert done.exit_code == 0, done.output
    assert "undecided" in done.output
    page = (tmp_path / "verdicts.md").read_text(encoding="utf-8")
    assert "| 1 | more | **undecided** |" in page
    lines = (tmp_path / "values.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 1 + 3 * 2  # head, base, recipes x rungs
    value = read_runs(folder)["plain", None][0]["quality"]
    row = next(line.split(",") for line in lines if line.startswith("plain,2,0,"))
    assert float(row[lines[0].split(",").index("quality")]) == pytest.approx(value, abs=1e-5)
    print_next(folder, read_results(folder), folder.root.parent)
    assert "tuner verdicts small" in capsys.readouterr().out


def test_such_a_study_has_no_winner_to_confirm(parts: Parts) -> None:
    done = CliRunner().invoke(app, ["confirm", str(parts.first.root)])
    assert done.exit_code == 3
    assert "`tuner verdicts`" in done.output
