"""Trials: train, sample and score one set of parameters; the messages about it."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.trial.messages import RepeatWork as RepeatWork, Rung as Rung, TrialWork as TrialWork
    from tuner.trial.setup import open_bench as open_bench
    from tuner.trial.trial import run_trial as run_trial
    from tuner.trial.workbench import Workbench as Workbench

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "messages": ["RepeatWork", "Rung", "TrialWork"],
        "setup": ["open_bench"],
        "trial": ["run_trial"],
        "workbench": ["Workbench"],
    },
)
