"""What a report tells of, read once from results.db, which is only read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.results.confirmation import Confirmation, read_confirmation
from tuner.results.results import Results, front, read_results
from tuner.storage import Store, StudyFolder
from tuner.storage.lock import runner
from tuner.storage.rows import RungRow, SampleRow

Who = int | None
"""A trial's number; None for the base."""


@dataclass(frozen=True)
class StudyData:
    """A study at one moment.

    `rungs` are a trial's in order; `samples` those of its last rung (the base's under None);
    `front` the numbers on the Pareto front, the strongest first; `config` the text of study.yaml;
    `confirmation` what fresh noise said, None where it was not asked.
    """

    folder: StudyFolder
    results: Results
    rungs: Mapping[int, Sequence[RungRow]]
    samples: Mapping[Who, Sequence[SampleRow]]
    phases: Sequence[tuple[str, float]]
    front: Sequence[int]
    running: bool
    config: str
    confirmation: Confirmation | None = None

    @property
    def last(self) -> dict[int, RungRow]:
        """The last rung of each trial that has one."""
        return {number: of[-1] for number, of in self.rungs.items() if of}

    @property
    def state(self) -> str:
        """How far the study is, in words."""
        done, budget = self.results.finished, self.results.study.budget
        words = "finished" if done >= budget else "not running"
        return f"{done} of {budget} trials, {'running' if self.running else words}"


def read_study_data(folder: StudyFolder) -> StudyData:
    """Everything a report needs. Raises ConfigError for a folder in which no study was begun."""
    results = read_results(folder)
    last = {one.trial.number: one.rung.step for one in results.scored}
    with Store(folder.results_db, read_only=True) as store:
        samples: dict[Who, Sequence[SampleRow]] = {
            number: store.samples(number, step) for number, step in last.items()
        }
        if results.base:
            samples[None] = store.samples(None, results.base.step)
        phases = store.all_phases()
    return StudyData(
        folder=folder,
        results=results,
        rungs=results.rungs,
        samples=samples,
        phases=phases,
        front=[one.trial.number for one in front(results)],
        running=runner(folder.lock) is not None,
        config=_text(folder),
        confirmation=read_confirmation(folder, results),
    )


def _text(folder: StudyFolder) -> str:
    try:
        return folder.study_yaml.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
