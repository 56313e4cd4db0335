"""Several pieces of work in turns, each on a worker of its own, as one stream of events."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from tuner.events import Event, Phase, Progress
from tuner.storage.fresh_rows import BASE, FreshSample
from tuner.study.stopping import Ending
from tuner.trial.messages import BaseNeeded, Idle

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
        if piece.waits and any(_gives_base(other, piece) for other in running):
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


def _gives_base(other: Piece, piece: Piece) -> bool:
    """Return True if `other` is making the scores of the base that `piece` waits for."""
    confirms = piece.part is not None and piece.part != BASE
    return other.scores_base or (confirms and other.part == BASE)


def close_all(running: list[Piece]) -> None:
    """Stop the pieces: what they have not stored is lost."""
    for piece in running:
        piece.outcomes.close()
