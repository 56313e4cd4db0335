"""Judge processes: the same scores as without, none left behind, and a killed one is noticed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import metrics
from metrics.contract import JudgeSettings, Prompt, Sample, ScoredSample
from tests.metrics.same_scores import require_same_scores
from tuner.errors import JudgeLostError, TunerError
from tuner.judging import find_pictures, judge
from tuner.judging.models import mannequin_judges
from tuner.judging.pool import JudgePool, open_pool, pool_size, score
from tuner.mannequin.render import draw, random_figure


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    random = np.random.default_rng(5)
    figures = [random_figure(random) for _ in range(6)]
    return [
        Sample(Prompt(figure.tags[0], figure.sex), seed, draw(figure, 64))
        for seed, figure in enumerate(figures)
    ]


@pytest.fixture(scope="module")
def pool() -> Iterator[JudgePool]:
    with open_pool(mannequin_judges(), 2) as opened:
        assert opened is not None
        yield opened


def require_same(found: ScoredSample, expected: ScoredSample) -> None:
    """Fail where the two differ by more than rounding, which depends on the samples beside it."""
    require_same_scores(found, expected)
    assert found.features is not None
    assert expected.features is not None
    for name, value in vars(found.features).items():
        other = getattr(expected.features, name)
        assert (value is None) == (other is None)
        if value is not None:
            assert np.asarray(value) == pytest.approx(np.asarray(other), abs=1e-3)


def test_without_cores_for_two_there_are_no_judge_processes() -> None:
    for most in (-1, 0, 1):
        with open_pool(JudgeSettings(gender_model=None), most) as pool:
            assert pool is None
    for most in (-1, 0):
        with open_pool(JudgeSettings(gender_model=None), most, least=1) as pool:
            assert pool is None
    with open_pool(JudgeSettings(gender_model=None, vlm="any"), 8) as pool:
        assert pool is None


@pytest.mark.parametrize(("free", "count"), [(11, 0), (12, 1), (30, 2), (1000, 3)])
def test_a_quarter_of_a_gpu_s_free_memory_is_for_judges(
    free: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (free * 2**30, 2**40))
    assert pool_size(mannequin_judges(), 3, least=1) == count
    assert pool_size(mannequin_judges(), 1, least=1) == min(1, count)
    assert pool_size(JudgeSettings(gender_model=None), 3, least=1) == 3  # they need no GPU


@pytest.mark.slow
def test_one_judge_process_scores_where_one_is_enough(samples: list[Sample]) -> None:
    settings = JudgeSettings(gender_model=None)
    with open_pool(settings, 1, least=1) as pool, metrics.open_detectors(settings) as judges:
        assert pool is not None
        found = score(samples[:2], judges, pool)
        for one, other in zip(found, score(samples[:2], judges, None), strict=True):
            require_same(one, other)


@pytest.mark.slow
def test_judge_processes_give_the_same_scores_in_the_same_order(
    pool: JudgePool, samples: list[Sample], tmp_path: Path
) -> None:
    settings = mannequin_judges()
    with metrics.open_detectors(settings) as judges:
        alone = metrics.score(samples, judges)
        for number, sample in enumerate(samples):
            Image.fromarray(sample.image).save(tmp_path / f"{number}.png")
        pictures = find_pictures(tmp_path, "1girl")
        folder = [list(judge(pictures, judges, each)) for each in (None, pool)]
    results = pool.submit(samples, settings)
    assert len(results) == pool.count  # each process is sent its half of them at once
    for found, expected in zip(pool.scored(results), alone, strict=True):
        require_same(found, expected)
    assert [dict(each.scores) for each in folder[1]] == [dict(each.scores) for each in folder[0]]
    assert [each.sample.path for each in folder[1]] == [path for path, _ in pictures.prompted]


@pytest.mark.slow
def test_an_error_of_a_judge_process_is_raised_and_the_process_goes_on(
    pool: JudgePool, samples: list[Sample]
) -> None:
    broken = Sample(Prompt("1girl"), 0, np.zeros((0, 0, 3), np.uint8))
    with pytest.raises(ZeroDivisionError) as raised:  # it has no sides
        list(pool.scored(pool.submit([broken], mannequin_judges())))
    assert "in score_samples" in "".join(raised.value.__notes__)
    assert len(list(pool.scored(pool.submit(samples[:1], mannequin_judges())))) == 1


@pytest.mark.slow
def test_a_killed_judge_process_is_noticed_and_none_is_left(
    samples: list[Sample], tmp_path: Path
) -> None:
    Image.fromarray(samples[0].image).save(tmp_path / "0.png")
    before = set(multiprocessing.active_children())
    settings = JudgeSettings(gender_model=None)
    with open_pool(settings, 2) as pool, metrics.open_detectors(settings) as judges:
        assert pool is not None
        results = pool.submit(samples * 2, settings)
        for process in set(multiprocessing.active_children()) - before:
            os.kill(process.pid or 0, signal.SIGKILL)
        with pytest.raises(JudgeLostError, match=r"a judge process was killed \(SIGKILL\)"):
            list(pool.scored(results))
        with pytest.raises(TunerError, match="free some memory or give --jobs 1"):
            list(judge(find_pictures(tmp_path, "1girl"), judges, pool))
    assert set(multiprocessing.active_children()) == before


def hold_pool(connection: Connection) -> None:
    multiprocessing.current_process().daemon = False
    with open_pool(JudgeSettings(gender_model=None), 2):
        connection.send([process.pid for process in multiprocessing.active_children()])
        connection.recv()


@pytest.mark.slow
def test_judge_processes_end_with_a_killed_worker() -> None:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    worker = spawn.Process(target=hold_pool, args=(theirs,), daemon=True)
    worker.start()
    judges = [psutil.Process(pid) for pid in ours.recv()]
    assert len(judges) == 2
    worker.kill()
    worker.join()
    _, left = psutil.wait_procs(judges, timeout=30)
    assert left == []
