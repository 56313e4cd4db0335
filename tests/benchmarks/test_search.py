"""The replay of searches: table, surrogate, loop and numbers, on a made-up table."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import optuna
import pytest
import search
import search_report
import search_surrogate
from search_methods import ARMS, Method, Telling, config_of, sampler_for, telling
from search_process import smoothed
from search_replay import Run, Scale, ask, measure_scale, random_parameters, replay, volumes
from search_surrogate import Surrogate
from search_table import Row, Rung, extract, read_table, seconds_by_rung, write_table

from metrics.contract import Objective
from metrics.intervals import wilson
from tests.tuner.report_studies import new_study, put_samples, put_trial
from tuner.space import StudyConfig, load_study
from tuner.space.parameters import FloatRange
from tuner.storage import Store

SPACE = Path(search.__file__).parent / "search.yaml"
NAMES = ("pose", "gender", "clothing", "quality")
BEST = 1e-3


def measured(good: float, total: int) -> dict[str, Objective]:
    values = dict.fromkeys(NAMES, good) | {"undressed_rate": 0.05}
    return {
        name: Objective(name, value, *wilson(value * total, total), total, total)
        for name, value in values.items()
    }


def made_up(config: StudyConfig, count: int = 24) -> list[Row]:
    """Trials, better the nearer their learning rate is to BEST; with small pictures cheaper."""
    rows = [Row(None, {}, (Rung(0, measured(0.3, 52), 0.0, 0.0),))]
    for number, point in enumerate(random_parameters(config, count)):
        good = 0.9 - 0.3 * abs(math.log(float(str(point["learning_rate"])) / BEST))
        training = 10.0 if point["resolution"] == 48 else 20.0
        rungs = (
            Rung(60, measured(max(0.1, good - 0.1), 26), training, 5.0),
            Rung(150, measured(max(0.1, good), 52), training, 10.0),
        )
        rows.append(Row(number, point, rungs))
    return rows


@pytest.fixture(scope="module")
def config() -> StudyConfig:
    return load_study(SPACE)


@pytest.fixture(scope="module")
def surrogate(config: StudyConfig) -> Surrogate:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_surrogate, "TREES", 3)
        patch.setattr(search_surrogate, "FOLDS", 3)
        return Surrogate(config, made_up(config))


@pytest.fixture(scope="module")
def scale(surrogate: Surrogate) -> Scale:
    return measure_scale(surrogate, 100, 0.1)[0]


@pytest.fixture(scope="module")
def told(config: StudyConfig) -> Telling:
    return telling(config, ({"rank": 16, "learning_rate": BEST},), BEST)


def test_a_rung_costs_its_training_and_what_follows() -> None:
    phases = [("load", 3.0), ("train", 5.0), ("sample", 2.0), ("score", 1.0), ("train", 7.0)]
    assert seconds_by_rung([*phases, ("sample", 4.0)]) == [(5.0, 3.0), (7.0, 4.0)]


def test_a_table_has_the_trials_with_all_rungs_and_is_read_as_written(tmp_path: Path) -> None:
    folder = new_study(tmp_path)
    put_samples(folder, None, 0, 0.5, size=16)
    for number, state in enumerate(["complete", "stopped", "complete"]):
        put_trial(folder, number, state, size=16)
    with Store(folder.results_db) as store:
        store.add_phase(0, "train", "2026-01-01T00:01:00+00:00", 11.0)
        store.add_phase(0, "score", "2026-01-01T00:02:00+00:00", 2.5)
    rows, words = extract(folder)
    assert [row.trial for row in rows] == [None, 0]
    assert words == "1 trials; left out: 1 stopped, 1 without the seconds of each rung"
    assert [(rung.training, rung.judging) for rung in rows[1].rungs] == [(20.0, 0.0), (11.0, 2.5)]
    write_table(rows, tmp_path / "table.jsonl")
    again = read_table(tmp_path / "table.jsonl")
    pose = rows[1].rungs[1].measured["pose"]
    assert again[1].parameters == rows[1].parameters
    assert again[1].rungs[1].measured["pose"].low == pytest.approx(pose.low, abs=1e-4)


def test_a_surrogate_foretells_trials_that_it_did_not_see(surrogate: Surrogate) -> None:
    points = random_parameters(surrogate.config, 40)[24:]
    means = surrogate.means(points)
    assert means.shape == (16, 2, 5)
    rates = [abs(math.log(float(str(point["learning_rate"])) / BEST)) for point in points]
    assert np.corrcoef(rates, means[:, 1, 0])[0, 1] < -0.9
    assert {fit.kind for fit in surrogate.fits if fit.measure == "pose"} == {"process"}
    rungs = surrogate.rungs(points[0] | {"resolution": 48}, means[0])
    assert [(rung.training, rung.judging) for rung in rungs] == [(10.0, 5.0), (10.0, 10.0)]
    known = surrogate.trials[0].rungs[1].measured["pose"]
    assert surrogate.rungs(points[0], np.full((2, 5), known.value))[1].measured[
        "pose"
    ].low == pytest.approx(known.low, abs=0.01)


def test_fast_means_are_those_of_sklearn(config: StudyConfig) -> None:
    inputs = np.random.default_rng(0).random((12, 3))
    process = search_surrogate._process(3).fit(inputs, inputs[:, 0] ** 2)
    fast = search_surrogate._mean_of(process)(inputs[:5] + 0.1)
    assert fast == pytest.approx(process.predict(inputs[:5] + 0.1), abs=1e-9)


def test_smoothing_passes_over_a_lucky_trial() -> None:
    inputs = np.linspace(0, 1, 21)[:, None]
    truth = 1 - (inputs[:, 0] - 0.3) ** 2
    noisy = truth + np.random.default_rng(0).normal(0, 0.05, 21)
    noisy[18] += 0.45
    best = np.argmax(smoothed(inputs, noisy))
    assert np.argmax(noisy) == 18
    assert abs(inputs[best, 0] - 0.3) < 0.35
    assert smoothed(inputs[:3], noisy[:3]) == pytest.approx(noisy[:3])


@pytest.mark.parametrize("rungs", [False, True])
def test_a_replay_spends_its_budget(
    surrogate: Surrogate, scale: Scale, told: Telling, rungs: bool
) -> None:
    run = replay(surrogate, scale, Method("random", rungs), told, 0, 12)
    assert run.costs[-2] < 12 <= run.costs[-1]
    assert list(run.volumes) == sorted(run.volumes)
    assert 0 < run.volumes[-1] <= 1.01
    spent = np.diff([0.0, *run.costs]) * scale.full
    # Without rungs nothing is judged before the end; a stopped trial trains to its first rung only.
    expected = {30.0, 50.0} if not rungs else {35.0, 55.0, 15.0, 25.0}
    assert set(np.round(spent, 6)) <= expected
    assert (min(spent) < 29) == rungs
    assert run == replay(surrogate, scale, Method("random", rungs), told, 0, 12)


def test_what_a_method_is_told_reaches_its_study(config: StudyConfig, told: Telling) -> None:
    studies = {arm: config_of(config, Method("tpe", arm=arm), told, 3, 12) for arm in ARMS}
    rates = {arm: study.train["learning_rate"] for arm, study in studies.items()}
    priors = {arm: each.prior for arm, each in rates.items() if isinstance(each, FloatRange)}
    assert priors["plain"] is None
    assert priors["good prior"].centre == BEST
    assert priors["wrong prior"].centre == 1e-2
    assert studies["start_from"].start_from == told.starts
    assert studies["plain"].start_from == ()
    assert studies["plain"].seed == 3


SLOW = pytest.param("gp on strength", marks=pytest.mark.slow)
QUICK = ("tpe on strength, 4 startup", "process on weights", "process on strength")


@pytest.mark.parametrize("name", [*QUICK, SLOW])
def test_a_sampler_of_one_number_learns_from_several(
    config: StudyConfig, told: Telling, name: str
) -> None:
    method = Method(name)
    study = optuna.create_study(directions=["maximize"] * 4)
    own = config_of(config, method, told, 0, 16)
    for _ in range(6):
        trial = ask(study, own, method)
        rate = trial.suggest_float("learning_rate", 2e-4, 1e-2, log=True)
        study.tell(trial, [1 - 0.2 * abs(math.log(rate / BEST))] * 4)
    sampler = sampler_for(method, own, 0, 6)
    space = sampler.infer_relative_search_space(study, study.trials[0])
    assert list(space) == ["learning_rate"]
    chosen = sampler.sample_relative(study, study.trials[0], space)["learning_rate"]
    assert 2e-4 <= chosen <= 1e-2


def test_costs_are_those_of_the_first_trial_that_reaches_a_share() -> None:
    run = Run((1.0, 2.0, 3.0), (0.5, 0.92, 0.94), (0.1, 0.2, 0.3), 0.2)
    assert search_report.cost_to(run, 0.9) == 2.0
    assert search_report.cost_to(run, 0.95) == math.inf
    assert search_report.at_cost(run, run.strengths, 2.5) == 0.2
    assert search_report.at_cost(run, run.strengths, 0.5) == 0.0
    assert search_report.median([1.0, 2.0, math.inf]).value == 2.0
    assert search_report.median([1.0, math.inf]).value == math.inf
    assert search_report.ratio([2.0, 2.0], [4.0, 4.0]).high == 0.5
    assert search_report.ratio([math.inf], [4.0]).value == math.inf


def test_volumes_are_shares_between_reference_and_best() -> None:
    scale = Scale(np.full(4, 0.5), np.full(4, 1.0), 1.0, 1.0, 1.0)
    points = [np.full(4, np.nan), np.full(4, 0.4), np.full(4, 0.75), np.full(4, 1.0)]
    assert volumes(points, scale) == pytest.approx([0, 0, 0.5**4, 1.0], abs=0.005)


@pytest.mark.slow
def test_the_whole_command_goes_on_where_it_was_left(
    config: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("search", "machine"):
        monkeypatch.setattr(f"{name}.RESULTS", tmp_path)
    monkeypatch.setattr(search, "LONG", 80)
    write_table(made_up(config), tmp_path / "table.jsonl")
    options = ["replay", "--seeds", "1", "--table", str(tmp_path / "table.jsonl")]
    options += ["--studies", str(tmp_path), "--points", "50", "--only", "random"]
    search.main(options)
    text = (tmp_path / "search.md").read_text(encoding="utf-8")
    assert "| random | 1 |" in text
    assert "## Wrong prior" in text
    (cache,) = tmp_path.glob("????????????.jsonl")
    lines = cache.read_text(encoding="utf-8")
    assert lines.count("\n") == 3 * 2 * len(ARMS) + 1
    cache.write_text(lines + '{"method": ', encoding="utf-8")  # killed while it wrote
    search.main(options)
    assert (tmp_path / "search.md").read_text(encoding="utf-8") == text
    assert (tmp_path / "search.png").stat().st_size > 0
