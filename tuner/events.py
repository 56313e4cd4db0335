"""What a running study tells the outside: a stream of plain values, in the order they happen.

`train`, `run_trial` and `run_study` are generators of these; the command line shows them, tests
collect them. Nothing is called back: whoever stops reading stops the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metrics.contract import Objective

PhaseName = Literal["load", "base", "train", "sample", "score"]
TrialState = Literal["complete", "infeasible", "stopped", "pruned", "failed", "interrupted"]
"""complete: came to its last rung; infeasible: so it did, and breaks a limit there; stopped: did
not go on at an earlier rung; pruned: its parameters brought it down; failed: something else did;
interrupted: it was taken up again as another trial."""

COUNTED: tuple[TrialState, ...] = ("complete", "infeasible", "stopped", "pruned")
"""The states that count towards the budget: the parameters were tried."""


@dataclass(frozen=True)
class Phase:
    """Another kind of work begins; `trial` is None for work on the base."""

    name: PhaseName
    trial: int | None = None


@dataclass(frozen=True)
class TrialStarted:
    """A trial got its parameters: the values of the search space by name."""

    trial: int
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class Progress:
    """`done` of `total` optimizer steps (or samples, while sampling) are finished.

    `loss` is the mean training loss since the last report, None while sampling. `trial` is set
    where several run side by side.
    """

    done: int
    total: int
    per_second: float
    loss: float | None = None
    trial: int | None = None


@dataclass(frozen=True)
class RungScored:
    """A checkpoint was sampled and scored; `trial` is None for the base without LoRA."""

    trial: int | None
    step: int
    objectives: Mapping[str, Objective]
    rates: Mapping[str, Objective]
    grid: Path


@dataclass(frozen=True)
class TrialEnded:
    """A trial is over; `reason` says why where it did not complete."""

    trial: int
    state: TrialState
    reason: str | None = None


@dataclass(frozen=True)
class RepeatStarted:
    """A LoRA is going to be sampled on fresh noise, the `place`-th of `places`.

    `trial` is None for the base; `repeat` 0 is the trial's own file, others are trained anew.
    """

    trial: int | None
    step: int
    repeat: int
    place: int
    places: int


@dataclass(frozen=True)
class RepeatEnded:
    """Its fresh samples were scored, or `reason` says why there are none."""

    trial: int | None
    step: int
    repeat: int
    objectives: Mapping[str, Objective]
    reason: str | None = None


@dataclass(frozen=True)
class Retried:
    """Something broke in a trial (None: before any) and is done again; `reason` says what, how."""

    trial: int | None
    reason: str


@dataclass(frozen=True)
class Warned:
    """The judges have a doubt that the user should know of; the trial goes on."""

    text: str


Event = (
    Phase
    | TrialStarted
    | Progress
    | RungScored
    | TrialEnded
    | RepeatStarted
    | RepeatEnded
    | Retried
    | Warned
)
