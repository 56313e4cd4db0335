"""Events of a running study: plain values, in the order in which they happen.

`train`, `run_trial` and `run_study` are generators of events; the command line shows them, tests
collect them. There are no callbacks: closing a generator stops its work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from metrics.contract import Measure, Objective

PhaseName = Literal["load", "judges", "base", "train", "sample", "score"]
TrialState = Literal["complete", "infeasible", "stopped", "pruned", "failed", "interrupted"]
"""complete: reached its last rung; infeasible: reached its last rung and breaks a limit there;
stopped: ended at an earlier rung; pruned: failed because of its parameters; failed: failed for
another reason; interrupted: stopped from outside, its parameters are run again as another trial."""

COUNTED: tuple[TrialState, ...] = ("complete", "infeasible", "stopped", "pruned")
"""States that count towards the budget, because the parameters were tried."""


@dataclass(frozen=True)
class Phase:
    """A new phase of work begins; `trial` is None for work on the base.

    `repeat` is 0, or in a confirmation the number of a trial's training with another seed.
    """

    name: PhaseName
    trial: int | None = None
    repeat: int = 0


@dataclass(frozen=True)
class BaseOpened:
    """The base was loaded; `prediction` is what its UNet predicts, and where that was read."""

    base: str
    prediction: str


@dataclass(frozen=True)
class TrialStarted:
    """A trial got its parameters: the values of the search space by name."""

    trial: int
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class Progress:
    """`done` of `total` optimizer steps (or samples, while sampling) are finished.

    `loss` is the mean training loss since the last report, None while sampling; `learning_rate`
    is that of the next step. `trial` and `repeat` are those of its phase; `trial` is None for work
    on the base.
    """

    done: int
    total: int
    per_second: float
    loss: float | None = None
    learning_rate: float | None = None
    trial: int | None = None
    repeat: int = 0


@dataclass(frozen=True)
class RungScored:
    """A checkpoint was sampled and scored; `trial` and `lora` are None for the base without LoRA.

    `lora` is the trained file: a LoRA, or DreamBooth's whole weights.
    """

    trial: int | None
    step: int
    objectives: Mapping[str, Objective]
    rates: Mapping[str, Objective]
    grid: Path
    lora: Path | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialEnded:
    """A trial ended; `reason` is set if it did not complete."""

    trial: int
    state: TrialState
    reason: str | None = None


@dataclass(frozen=True)
class RepeatStarted:
    """Sampling of a LoRA on fresh noise begins; it is number `place` of `places`, from 1.

    `trial` is None for the base; `repeat` 0 is the trial's own file, others are trained again.
    """

    trial: int | None
    step: int
    repeat: int
    place: int
    places: int


@dataclass(frozen=True)
class RepeatEnded:
    """The fresh samples of a LoRA were scored; `reason` is set if there are none."""

    trial: int | None
    step: int
    repeat: int
    objectives: Mapping[str, Objective]
    reason: str | None = None


@dataclass(frozen=True)
class Retried:
    """Work of a trial (None: before any trial) failed and is tried again; `reason` has the cause
    and the next attempt."""

    trial: int | None
    reason: str


@dataclass(frozen=True)
class Warned:
    """A warning of the judges for the user; the trial continues."""

    text: str


Event = (
    Phase
    | BaseOpened
    | TrialStarted
    | Progress
    | RungScored
    | TrialEnded
    | RepeatStarted
    | RepeatEnded
    | Retried
    | Warned
)
