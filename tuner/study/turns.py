"""Several pieces of work in turns, each on a worker of its own, as one stream of events."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from tuner.events import Event, Phase, Progress
from tuner.storage.fresh_rows import FreshSample
from tuner.study.stopping import Ending
from tuner.trial.messages import BaseNeeded, Idle
from tuner.worker import Worker

Outcomes = Generator[Event | Idle | BaseNeeded, None, Ending | None]
"""Outcomes of a piece of work, which returns the ending if it is a trial."""


@dataclass
class Piece:
    """A piece of work on the worker of place `place`.

    `trial` is None for work on the base. Other pieces may need its scores; they wait (`waits`)
    until no piece is about to give them. `part` is set in a confirmation, also for the fresh
    samples of the base; `ending` is that of a trial, once it is over.
    """

    place: int
    outcomes: Outcomes
    trial: int | None
    part: FreshSample | None = None
    waits: bool = False
    ending: Ending | None = None

    @property
    def scores_base(self) -> bool:
        """True for the piece that gives the others the base's scores."""
        return self.trial is None and self.part is None


def one_turn(running: list[Piece]) -> Generator[Event, None, list[Piece]]:
    """Yield the next event of each piece that has one now; remove and return those that ended.

    Events of a phase and of its progress get the trial and the repeat of their piece.
    """
    over = []
    for piece in list(running):
        if piece.waits and any(other.scores_base for other in running):
            continue
        try:
            outcome = next(piece.outcomes)
        except StopIteration as end:
            piece.ending = end.value
            running.remove(piece)
            over.append(piece)
            continue
        piece.waits = isinstance(outcome, BaseNeeded)
        if isinstance(outcome, Phase | Progress):
            repeat = piece.part.repeat if piece.part else 0
            outcome = replace(outcome, trial=piece.trial, repeat=repeat)
        if not isinstance(outcome, Idle | BaseNeeded):
            yield outcome
    return over


def take_place(free: list[int], pool: Sequence[Worker], waits: bool) -> int | None:
    """Take the first place out of `free` whose worker is started or has room now.

    If none has, take the first of all if the caller `waits` for it, else return None. Without a
    `pool` every place has room.
    """
    able = (place for place in free if not pool or pool[place].claim())
    place = next(able, free[0] if waits else None)
    if place is not None:
        free.remove(place)
    return place


def close_all(running: list[Piece]) -> None:
    """Stop the pieces: what they have not stored is lost."""
    for piece in running:
        piece.outcomes.close()
