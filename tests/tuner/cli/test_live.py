from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from metrics.contract import Objective
from tuner.cli.live import View, panel, plain_lines, show
from tuner.events import (
    Event,
    Phase,
    Progress,
    RepeatEnded,
    RepeatStarted,
    Retried,
    RungScored,
    TrialEnded,
    TrialStarted,
    Warned,
)
from tuner.text import duration

GRID = Path("grid.png")


def objectives(pose: float) -> dict[str, Objective]:
    return {
        "pose": Objective("pose", pose, pose - 0.1, pose + 0.1, 9, 10),
        "gender": Objective("gender", 0.5, 0.4, 0.6, 10, 10),
    }


def trial(number: int, pose: float) -> Iterator[Event]:
    yield TrialStarted(number, {"rank": 8, "learning_rate": 0.00051234, "alias": None})
    yield Phase("train", number)
    yield Progress(10, 20, 4.0, 0.25, trial=number)
    yield RungScored(number, 20, objectives(pose), {}, GRID)
    yield TrialEnded(number, "complete")


def events() -> Iterator[Event]:
    yield Phase("load")
    yield Phase("base")
    yield RungScored(None, 0, objectives(0.3), {}, GRID)
    yield from trial(0, 0.6)
    yield from trial(1, 0.4)
    yield TrialStarted(2, {"rank": 16})
    yield TrialEnded(2, "pruned", "diverged: loss is nan")


def view() -> View:
    return View("pose", 12, ("pose", "gender"))


def rendered(shown: View) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(panel(shown))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_lines_tell_what_happened_one_each() -> None:
    lines = list(plain_lines(view(), events(), now=lambda: 0.0))
    assert lines[0] == "loading the base and the judges"
    assert lines[2] == "base: pose 0.30 [0.20, 0.40], gender 0.50 [0.40, 0.60]"
    assert lines[3] == "trial 0 (1/12): rank 8, learning_rate 0.000512, alias none"
    assert lines[4].startswith("trial 0, step 20: pose 0.60 [0.50, 0.70]")
    assert lines[5].startswith("trial 0 complete, ")
    assert lines[-1].startswith("trial 2 pruned (diverged: loss is nan), ")
    assert all("\n" not in line for line in lines)


def test_what_broke_and_what_is_doubted_are_reported() -> None:
    sent: list[Event] = [
        Retried(None, "the worker ended by itself (exit code 1) while loading; a new one starts"),
        Retried(
            3, "out of memory; trying again with batches of 8 and gradients accumulated over 2"
        ),
        Warned("gender: no sample of the base could be judged"),
    ]
    assert list(plain_lines(view(), sent, now=lambda: 0.0)) == [
        "the worker ended by itself (exit code 1) while loading; a new one starts",
        "trial 3: out of memory; trying again with batches of 8 and gradients accumulated over 2",
        "warning: gender: no sample of the base could be judged",
    ]


def test_progress_is_a_line_every_half_minute() -> None:
    clock = iter(range(0, 1000, 10))
    many: list[Event] = [Phase("train", 3)]
    many += [Progress(i, 20, 4.0, 0.25, trial=3) for i in range(7)]
    shown = view()
    lines = list(plain_lines(shown, many, now=lambda: float(next(clock))))
    assert lines == [
        "trial 3, training, 2/20 steps, 4.0/s, loss 0.250",
        "trial 3, training, 5/20 steps, 4.0/s, loss 0.250",
    ]


def test_the_front_holds_the_complete_trials_that_none_beats() -> None:
    shown = view()
    for event in events():
        shown.update(event)
    assert shown.front == [0]
    assert shown.finished == 3
    assert shown.place == "4/12"
    assert shown.seconds_left is not None


def test_the_panel_says_where_the_study_is() -> None:
    shown = view()
    assert "not known yet" in rendered(shown)
    for event in [*events(), *list(trial(3, 0.7))[:4]]:
        shown.update(event)
    text = rendered(shown)
    for word in ("pose", "trial 4/12", "training", "10/20 steps, 4.0/s, loss 0.250"):
        assert word in text
    assert "best: 0" in text
    assert "0.70 [0.60, 0.80]" in text
    assert "time left" in text


def test_without_a_terminal_nothing_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    show(view(), events())
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    assert err.count("\n") > 5


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "?"), (45.4, "45 s"), (600, "10 min"), (11_100, "3 h 05 min")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_stopped_trial_counts_and_is_no_best() -> None:
    shown = view()
    list(plain_lines(shown, trial(0, 0.6)))
    ended = TrialEnded(1, "stopped", "behind at step 10: place 4 of 4, the best 2 go on")
    lines = list(plain_lines(shown, [*list(trial(1, 0.9))[:-1], ended]))
    assert lines[-1].startswith("trial 1 stopped (behind at step 10: place 4 of 4, the best 2 go")
    assert (shown.finished, shown.front) == (2, [0])


def test_a_confirmation_tells_each_part() -> None:
    sent = [
        RepeatStarted(None, 0, 0, 1, 3),
        RepeatEnded(None, 0, 0, objectives(0.3)),
        RepeatStarted(4, 300, 0, 2, 3),
        RepeatEnded(4, 300, 0, objectives(0.6)),
        RepeatStarted(4, 300, 1, 3, 3),
        RepeatEnded(4, 300, 1, {}, "diverged: the loss is nan"),
    ]
    lines = list(plain_lines(view(), sent, now=lambda: 0.0))
    assert lines[0] == "confirming, 1/3: the base on fresh noise"
    assert lines[1].startswith("the base on fresh noise: pose 0.30 [0.20, 0.40]")
    assert lines[3].startswith("trial 4, step 300 on fresh noise: pose 0.60")
    assert lines[4].endswith("fresh noise, trained again with another seed (1)")
    assert lines[5].endswith("(1): diverged: the loss is nan")
