"""The data of a report, read once from results.db, which is opened read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.results.confirmation import Confirmation, read_confirmation
from tuner.results.results import Results, front, read_results
from tuner.storage import Store, StudyFolder
from tuner.storage.lock import runner
from tuner.storage.rows import RungRow, SampleRow
from tuner.text import counted

TrialKey = int | None
"""A trial's number; None for the base."""


@dataclass(frozen=True)
class StudyData:
    """A study at one moment.

    `rungs`: each trial's rungs in order. `samples`: the samples of each trial's last rung, those of
    the base under None. `phases`: name and seconds of each phase. `front`: the trials on the Pareto
    front, the strongest first. `config`: the text of study.yaml. `confirmation`: None if no
    confirmation was begun.
    """

    folder: StudyFolder
    results: Results
    rungs: Mapping[int, Sequence[RungRow]]
    samples: Mapping[TrialKey, Sequence[SampleRow]]
    phases: Sequence[tuple[str, float]]
    front: Sequence[int]
    running: bool
    config: str
    confirmation: Confirmation | None = None

    @property
    def last(self) -> dict[int, RungRow]:
        """The last rung of each trial that has one."""
        return {number: rungs[-1] for number, rungs in self.rungs.items() if rungs}

    @property
    def state(self) -> str:
        """Progress of the study in words."""
        done, budget = self.results.finished, self.results.study.budget
        words = "finished" if self.results.is_over else "not running"
        return f"{done} of {counted(budget, 'trial')}, {'running' if self.running else words}"


def read_study_data(folder: StudyFolder) -> StudyData:
    """Read all data of a report. Raises ConfigError if no study was begun in the folder."""
    results = read_results(folder)
    last = {result.trial.number: result.rung.step for result in results.scored}
    with Store(folder.results_db, read_only=True) as store:
        samples: dict[TrialKey, Sequence[SampleRow]] = {
            number: store.samples(number, step) for number, step in last.items()
        }
        if results.base:
            samples[None] = store.samples(None, results.base.step)
        phases = store.phases()
    return StudyData(
        folder=folder,
        results=results,
        rungs=results.rungs,
        samples=samples,
        phases=phases,
        front=[result.trial.number for result in front(results)],
        running=runner(folder.lock) is not None,
        config=_text(folder),
        confirmation=read_confirmation(folder, results),
    )


def _text(folder: StudyFolder) -> str:
    try:
        return folder.study_yaml.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
