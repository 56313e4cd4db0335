"""Which trials a study of files has: every file at every strength, and those that are left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.events import COUNTED
from tuner.judged.files import JudgedFile
from tuner.results.judged import TrialFile, trial_file
from tuner.storage.rows import TrialRow


@dataclass(frozen=True)
class Planned:
    """A trial of the study: a file at a strength, under the number of the trial."""

    number: int
    file: JudgedFile
    strength: float
    as_base: bool = False

    @property
    def parameters(self) -> dict[str, object]:
        """Return the parameters of its row: the file and the strength, and what tells the file."""
        facts = TrialFile(
            self.file.name,
            self.strength,
            self.file.sha256,
            self.file.run,
            self.file.step,
            self.file.epoch,
            self.as_base,
        )
        return facts.parameters()


def planned_trials(
    rows: Sequence[TrialRow],
    files: Sequence[JudgedFile],
    strengths: Sequence[float],
    as_base: bool = False,
) -> list[Planned]:
    """Return every file at every strength, with the numbers of `rows` for those that are there."""
    known = [(row.number, facts) for row in rows if (facts := trial_file(row)) is not None]
    numbers = {(facts.sha256, facts.strength): number for number, facts in known}
    free = max((row.number for row in rows), default=-1) + 1
    plan = []
    for file in files:
        for strength in strengths:
            number = numbers.get((file.sha256, strength))
            if number is None:
                number, free = free, free + 1
            plan.append(Planned(number, file, strength, as_base))
    return plan


def left_to_judge(
    rows: Sequence[TrialRow],
    files: Sequence[JudgedFile],
    strengths: Sequence[float],
    as_base: bool = False,
) -> list[Planned]:
    """Return the trials that `rows` do not have or that did not end by themselves."""
    over = {row.number for row in rows if row.state in COUNTED}
    return [
        each for each in planned_trials(rows, files, strengths, as_base) if each.number not in over
    ]
