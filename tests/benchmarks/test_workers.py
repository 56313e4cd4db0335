"""The benchmark of the controller runs a whole study on sleeping workers, and writes its page."""

from __future__ import annotations

from pathlib import Path

from sleepers import Waits
from workers import Run, draw, idle, measure, page


def test_sleeping_workers_do_a_whole_study() -> None:
    run = measure(2, 4, 0.4)
    assert (run.workers, run.trials) == (2, 4)
    assert run.seconds > 2 * 0.4 * 0.8
    assert 0 < run.core < 1
    assert 0 <= run.idle < 1
    assert run.milliseconds > 0


def test_idle_is_the_mean_share_of_those_who_worked() -> None:
    assert idle([Waits(10.0, 20.0, 1.0, 3), Waits(10.0, 30.0, 0.0, 2), Waits()]) == 0.05


def test_the_page_and_its_picture(tmp_path: Path) -> None:
    runs = [Run(1, 4, 100.0, 0.01, 0.002, 50.0), Run(64, 256, 105.0, 0.02, 0.04, 16.4)]
    text = page(runs, 25.0)
    assert "With 64 workers they are idle for 2.0% of their time (allowed: 3%)" in text
    assert "needs 4.0% of one core (allowed: 5%)" in text
    assert "| 64 | 256 | 146.3 | 61.0 | 2.00% | 4.00% | 16.4 |" in text
    draw(runs, 25.0, tmp_path / "workers.png")
    assert (tmp_path / "workers.png").stat().st_size > 5000
