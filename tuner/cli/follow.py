"""Run a study or a confirmation: show its progress, then print its results, also as JSON."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.cli.json_lines import Write, write_events
from tuner.cli.live import View, recall, show
from tuner.cli.logs import Log
from tuner.events import Event, Phase
from tuner.judging.calibration import study_marks
from tuner.report import write_report
from tuner.report.documents import confirmation_document, front_document, study_state
from tuner.report.summary import (
    print_confirmation,
    print_front,
    print_next,
    print_rungs,
    print_time,
)
from tuner.results import read_results
from tuner.results.confirmation import part_count
from tuner.results.results import Results, is_begun
from tuner.space import StudyConfig
from tuner.space.load import load_recorded
from tuner.storage import StudyFolder
from tuner.storage.address import Address
from tuner.storage.folder import DEFAULT_STUDIES
from tuner.study.cost import estimate
from tuner.terminal import plain_warnings, say, stopping
from tuner.worker.count import MOST_WORKERS, Workers, planned_workers

if TYPE_CHECKING:
    from tuner.study.confirm import ConfirmOptions
    from tuner.worker.nodes.address import RayOptions
    from tuner.worker.nodes.cluster import Cluster


@dataclass(frozen=True)
class Printing:
    """How progress and results are printed: `plain` as single lines and tables without borders.

    `write` prints all of it as JSON instead (`tuner.cli.json_lines`), None for people. Each of
    `logs` writes the events of a search down as well.
    """

    plain: bool = False
    write: Write | None = None
    logs: Sequence[Log] = ()


@dataclass(frozen=True)
class Hands:
    """Who does the work: `workers` workers, each with `needed_bytes` of memory.

    None are as many as `auto_workers` says, or on a cluster (`ray`) as many as it has seats for.
    """

    needed_bytes: int
    workers: int | None = None
    ray: RayOptions | None = None

    @contextlib.contextmanager
    def engaged(self, pieces: int) -> Iterator[tuple[Workers, Cluster | None]]:
        """Yield the workers for `pieces` of work, on a cluster up to so many, and the cluster."""
        if self.ray is None:
            yield planned_workers(self.workers, self.needed_bytes, pieces), None
            return
        from tuner.worker.nodes.cluster import open_cluster

        most = min(self.workers or MOST_WORKERS, max(1, pieces))
        with open_cluster(self.ray, most, self.needed_bytes) as cluster:
            yield Workers(most, cluster.line), cluster


def follow(
    config: StudyConfig,
    folder: StudyFolder,
    printing: Printing,
    hands: Hands,
    server: Address | None = None,
) -> None:
    """Run the study, show its progress, print its front, write its report.

    `server` keeps Optuna's study in place of optuna.db.
    Confirms the strongest trials if the study's budget says so. If the study stops early, the
    results so far and how to continue are printed, and what `tuner.study.run_study` raised is
    raised again.
    """
    view = View(config.study, config.budget.trials, config.objectives)
    left, budget = config.budget.trials, config.budget
    if is_begun(folder):
        results = read_results(folder)
        left -= results.finished
        recall(view, results)
    pieces = max(left, part_count(budget.confirm, budget.confirm_repeats))
    with hands.engaged(pieces) as (plan, cluster):
        if left > 0:
            say(plan.line)
        begin_printing(view, folder, config.base, printing)
        events = _study_events(config, folder, plan.count, server, cluster)
        for log in printing.logs:
            events = log(events)
        watch(view, folder, events, printing)
    _conclude(folder, True, printing)


def follow_confirm(
    folder: StudyFolder,
    options: ConfirmOptions,
    printing: Printing,
    workers: int | None = None,
    ray: RayOptions | None = None,
) -> None:
    """Run a confirmation, show its progress, print its results, and write the report again.

    Without `workers` their number is that of `Hands`. Raises what
    `tuner.study.confirm.run_confirm` raises.
    """
    config = load_recorded(folder, base=options.base, data=options.data)
    pieces = part_count(options.trials, options.repeats)
    hands = Hands(estimate(config).vram_bytes, workers, ray)
    results = read_results(folder)
    view = View(folder.name, results.study.budget, results.study.objectives)
    recall(view, results)
    with hands.engaged(pieces) as (plan, cluster):
        say(plan.line)
        begin_printing(view, folder, results.study.base, printing)
        watch(view, folder, _confirm_events(folder, options, plan.count, cluster), printing)
    _conclude(folder, False, printing)


def begin_printing(view: View, folder: StudyFolder, base: str, printing: Printing) -> None:
    """Print the event that the study begins, for programs."""
    if printing.write:
        begun = {"study": view.study, "folder": folder.root, "base": base, "budget": view.trials}
        more = {"finished": view.finished, "objectives": view.objectives}
        printing.write({"event": "study_begun"} | begun | more)


def watch(
    view: View, folder: StudyFolder, events: Generator[Event, None, None], printing: Printing
) -> None:
    """Show `events` to their end; after an error print the results so far and how to continue."""
    try:
        with stopping(), plain_warnings(), contextlib.closing(events):
            if printing.write:
                write_events(view, events, printing.write)
            else:
                show(view, events, printing.plain)
    except BaseException as error:
        if view.begun or view.best:
            with contextlib.suppress(Exception):  # the original error is the one to show
                _print_front(folder, read_results(folder), printing)
        if view.begun or isinstance(error, KeyboardInterrupt):
            line = f"stopped; run the same command again to continue ({folder.root})"
            print(line, file=sys.stderr, flush=True)
        raise


def _conclude(folder: StudyFolder, front: bool, printing: Printing) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the judges' warnings were printed during the run
        results = read_results(folder)
        if front:
            _print_front(folder, results, printing)
        if printing.write:
            confirmation = confirmation_document(folder, results)
            if confirmation is not None:
                printing.write({"event": "confirmation"} | confirmation)
            ended = vars(study_state(folder, results)) | {"report": write_report(folder)}
            printing.write({"event": "study_ended"} | ended)
            return
        if front:
            print_rungs(results)
        print_confirmation(folder, results)
        write_report(folder)
    print_time(results)
    print_next(folder, results, DEFAULT_STUDIES)


def _print_front(folder: StudyFolder, results: Results, printing: Printing) -> None:
    if printing.write:
        printing.write({"event": "front"} | front_document(folder, results))
    else:
        print_front(folder, results, study_marks(folder), printing.plain)


def _study_events(
    config: StudyConfig,
    folder: StudyFolder,
    workers: int,
    server: Address | None,
    cluster: Cluster | None,
) -> Generator[Event, None, None]:
    """Yield the study's events; the first comes before the libraries load, which takes seconds."""
    yield Phase("load")
    from tuner.study import run_study
    from tuner.study.confirm import ConfirmOptions

    budget = config.budget
    confirm = ConfirmOptions(budget.confirm, budget.confirm_samples, budget.confirm_repeats)
    chosen = confirm if budget.confirm else None  # the printed front says if no trial can be
    yield from run_study(
        config, folder, workers=workers, confirm=chosen, server=server, cluster=cluster
    )


def _confirm_events(
    folder: StudyFolder, options: ConfirmOptions, workers: int, cluster: Cluster | None
) -> Generator[Event, None, None]:
    yield Phase("load")
    from tuner.study import run_confirm

    yield from run_confirm(folder, options, workers, cluster)
