"""Logs for other programs that `tuner run --log` names: TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Generator, Iterable
from functools import partial

from tuner.errors import ConfigError
from tuner.events import Event
from tuner.report.log import Begin, logged
from tuner.storage import StudyFolder
from tuner.text import show

PROGRAMS = ("tensorboard", "wandb")
"""What `--log` names: packages, which are extras of this one too."""

Log = Callable[[Generator[Event, None, None]], Generator[Event, None, None]]
"""Writes the events of a study down while it passes them on."""


def study_logs(programs: Iterable[str], folder: StudyFolder) -> list[Log]:
    """Return the logs of the study in `folder` for `programs`.

    Raises ConfigError for another program, for one whose package is not installed, and for one
    that has no account here.
    """
    return [partial(logged, begin=_begin(program, folder)) for program in dict.fromkeys(programs)]


def _begin(program: str, folder: StudyFolder) -> Begin:
    if program not in PROGRAMS:
        raise ConfigError(f"--log {show(program)}: allowed: {', '.join(PROGRAMS)}")
    if importlib.util.find_spec(program) is None:
        raise ConfigError(
            f"--log {program} needs {program}, which is not installed: "
            f"pip install 'tuner[{program}]', or leave --log out"
        )
    if program == "tensorboard":
        from tuner.report import log_tensorboard

        return partial(log_tensorboard.begin_run, folder)
    from tuner.report import log_wandb

    log_wandb.require_account()
    return partial(log_wandb.begin_run, folder)
