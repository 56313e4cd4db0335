"""Several pieces of work in turns, each on a worker of its own, as one stream of events."""

from __future__ import annotations

import select
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from tuner.events import Event, Phase, Progress
from tuner.storage.fresh_rows import BASE, FreshSample
from tuner.study.memory.workers import WorkerTable
from tuner.study.stopping import Ending
from tuner.trial.messages import BaseNeeded, Idle
from tuner.worker import Worker
from tuner.worker.worker import ASK_AGAIN

_GATHER = 0.0065
"""Seconds for each worker that messages are gathered before they are read: 416 ms with 64."""

Outcomes = Generator[Event | Idle | BaseNeeded, None, Ending | None]
"""Outcomes of a piece of work, which returns the ending if it is a trial."""


@dataclass
class Piece:
    """A piece of work on the worker of place `place`.

    `trial` is None for work on the base. Other pieces may need its scores; they wait (`waits`)
    until no piece is about to give them. `part` is set in a confirmation, also for the fresh
    samples of the base; `ending` is that of a trial, once it is over. `asked` is when it was last
    asked for an outcome (time.monotonic()); it has none until `ready`, if it is known, can be read.
    """

    place: int
    outcomes: Outcomes
    trial: int | None
    part: FreshSample | None = None
    waits: bool = False
    ending: Ending | None = None
    ready: Connection | None = None
    asked: float = 0.0

    @property
    def repeat(self) -> int:
        """Number of the training with another seed, 0 outside a confirmation."""
        return self.part.repeat if self.part else 0

    @property
    def scores_base(self) -> bool:
        """True for the piece that gives the others the base's scores."""
        return self.trial is None and self.part is None


def one_turn(
    running: list[Piece], table: WorkerTable | None = None
) -> Generator[Event, None, list[Piece]]:
    """Yield the next event of each piece that has one now; remove and return those that ended.

    Waits for a moment if none has. Events of a phase and of its progress get the trial and the
    repeat of their piece; `table` takes up what each worker does.
    """
    over = []
    for piece in _to_ask(running):
        piece.asked = time.monotonic()
        try:
            outcome = next(piece.outcomes)
        except StopIteration as end:
            piece.ending = end.value
            running.remove(piece)
            if table:
                table.free(piece.place)
            over.append(piece)
            continue
        event = _taken(piece, outcome)
        if event is not None:
            if table:
                table.note(piece.place, piece.trial, piece.repeat, event)
            yield event
    return over


def _taken(piece: Piece, outcome: Event | Idle | BaseNeeded) -> Event | None:
    """Note in `piece` what it waits for; return its event, None if it has none now."""
    piece.waits = isinstance(outcome, BaseNeeded)
    match outcome:
        case Idle(ready):
            piece.ready = ready
            return None
        case Phase() | Progress():
            return replace(outcome, trial=piece.trial, repeat=piece.repeat)
    piece.ready = None  # the work goes on before it waits for its worker again
    return None if isinstance(outcome, BaseNeeded) else outcome


def _to_ask(running: list[Piece]) -> list[Piece]:
    """Return the pieces that may have an outcome; waits until one has, or is to be asked again."""
    able = [piece for piece in running if not _waits(piece, running)]
    if not able or any(piece.ready is None for piece in able):
        due = time.monotonic() - ASK_AGAIN
        return [piece for piece in able if piece.ready is None or piece.asked <= due]
    # What arrives meanwhile is read together, which costs less than one message at a time.
    time.sleep(_GATHER * len(able))
    first = min(piece.asked for piece in able)
    # As multiprocessing.connection.wait, which takes three times as long for 64 of them.
    poll = select.poll()
    places = {piece.ready.fileno(): piece for piece in able if piece.ready is not None}
    for number in places:
        poll.register(number, select.POLLIN)
    found = poll.poll(max(0.0, 1000 * (first + ASK_AGAIN - time.monotonic())))
    speaking = {number for number, _ in found}
    due = time.monotonic() - ASK_AGAIN  # it is asked whether it has a message or not
    return [piece for number, piece in places.items() if number in speaking or piece.asked <= due]


def _waits(piece: Piece, running: list[Piece]) -> bool:
    """Return True while another piece is making the scores of the base that `piece` waits for."""
    return piece.waits and any(_gives_base(other, piece) for other in running)


def _gives_base(other: Piece, piece: Piece) -> bool:
    """Return True if `other` is making the scores of the base that `piece` may need."""
    confirms = piece.part is not None and piece.part != BASE
    return other.scores_base or (confirms and other.part == BASE)


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


def give_room(free: Sequence[int], pool: Sequence[Worker]) -> None:
    """Close an idle worker whose room another one waits for: its own node may be gone."""
    for place in free if pool else ():
        if pool[place].give_room():
            return


def close_all(running: list[Piece]) -> None:
    """Stop the pieces: what they have not stored is lost."""
    for piece in running:
        piece.outcomes.close()
