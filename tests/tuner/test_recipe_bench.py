"""A study of recipes that is really trained and sampled, in two parts, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import metrics
from benchmarks.join_parts import join
from metrics.contract import JudgeSettings
from metrics.detectors import Detectors
from tests.tuner.trained_study import by_brightness, keep_base
from tuner import trial
from tuner.base_model import BaseModel
from tuner.cli import app
from tuner.config import TrainConfig, rung_steps
from tuner.data.folder import TrainingSet
from tuner.errors import ConfigError
from tuner.events import Event
from tuner.optuna_study import opened
from tuner.outcomes import Rung
from tuner.recipe_bench import recipe_runner
from tuner.recipe_results import read_runs, read_series
from tuner.report import write_report
from tuner.space import load_study
from tuner.store import Store
from tuner.study import Session, search
from tuner.study_folder import StudyFolder
from tuner.study_record import record_study
from tuner.summary import print_next
from tuner.trial import Workbench
from tuner.work import TrialWork

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


@pytest.fixture
def bench(base: BaseModel, training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setattr(metrics, "score", by_brightness)
    config = load_part(Path(training_set.images[0].path).parent.parent, "1")
    return Workbench(base, {None: training_set}, config.suite, Detectors(JudgeSettings()))


def load_part(folder: Path, seeds: str):  # type: ignore[no-untyped-def]
    path = folder / "x.yaml"
    path.write_text(SPACE.replace("SEEDS", seeds))
    return load_study(path)


def run_part(bench: Workbench, parent: Path, seeds: str) -> StudyFolder:
    parent.mkdir(exist_ok=True)
    config, folder = load_part(parent, seeds), StudyFolder(parent / "small")
    folder.create()
    with opened(config, folder, {}) as memory, Store(folder.results_db) as store:
        record_study(config, folder, store, {})
        keep_base(bench, folder, store)
        do = recipe_runner(bench, config, folder, store)

        def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
            return do(TrialWork(number, train, rung_steps(train, config.budget)))

        list(search(Session(config, folder, memory, store), run))
    return folder


def test_recipes_are_sampled_as_they_say_and_share_their_training(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    train = trial.train
    monkeypatch.setattr(
        trial, "train", lambda *given: (trained.append(given[2][0].alias), train(*given))[1]
    )
    folder = run_part(bench, tmp_path / "whole", "1")
    assert trained == [None, "mi_cv"]
    with Store(folder.results_db) as store:
        rows = {one.number: store.samples(one.number, 2) for one in store.trials()}
        assert [one.state for one in store.trials()] == ["complete"] * 3
    assert rows[0][0].prompt.text == "1girl"
    assert rows[1][0].prompt.text == rows[2][0].prompt.text == "mi_cv, 1girl"
    assert folder.trial(1).rung(2).lora.read_bytes() == folder.trial(2).rung(2).lora.read_bytes()
    assert (folder.base_on("64x64_mi_cv") / "grid.png").is_file()
    assert (folder.base_on("96x96_mi_cv") / "grid.png").is_file()


def test_parts_with_other_seeds_count_together_and_can_be_joined(
    bench: Workbench, tmp_path: Path
) -> None:
    parts = [run_part(bench, tmp_path / "a", "[0, 2]"), run_part(bench, tmp_path / "b", "[1]")]
    series = read_series(parts)
    assert sorted(series.runs["plain", None]) == [0, 1, 2]
    assert [one.difference.n for one in series.comparisons if one.difference] == [3, 3]
    whole = StudyFolder(tmp_path / "whole" / "small")
    assert join(parts, whole) == 9
    joined = read_series([whole])
    assert joined.comparisons == series.comparisons
    assert joined.config.training_seeds == (0, 1, 2)
    with Store(whole.results_db, read_only=True) as store:
        paths = [row.path for one in store.trials() for row in store.samples(one.number, 2)]
    assert len(set(paths)) == 9 * 4
    assert all(path.is_file() for path in paths)
    assert "What the runs say" in write_report(whole).read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="with training seed 0 twice"):
        read_series([parts[0], whole])


def test_the_command_writes_the_verdicts_and_every_value(
    bench: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_part(bench, tmp_path / "a", "[0, 2]")
    done = CliRunner().invoke(app, ["verdicts", str(folder.root), "--plain"])
    assert done.exit_code == 0, done.output
    assert "undecided" in done.output
    done = CliRunner().invoke(app, ["confirm", str(folder.root)])
    assert (done.exit_code, "`tuner verdicts`" in done.output) == (3, True)
    print_next(folder, tmp_path / "a")
    assert "tuner verdicts small" in capsys.readouterr().out
    assert "| 1 | more | **undecided** |" in folder.verdicts.read_text(encoding="utf-8")
    lines = folder.values.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 1 + 3 * 2 * 2  # head, base, recipes x seeds x rungs
    values = read_runs(folder)["plain", None][2]
    row = next(line.split(",") for line in lines if line.startswith("plain,2,2,"))
    at = lines[0].split(",").index("girls_right")
    assert float(row[at]) == pytest.approx(values["girls_right"], abs=1e-5)
