"""Workers: processes that own the device and do the work of trials."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.worker.attempts import (
        repeat_attempts as repeat_attempts,
        trial_attempts as trial_attempts,
    )
    from tuner.worker.worker import Worker as Worker, WorkerLostError as WorkerLostError

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attempts": ["repeat_attempts", "trial_attempts"],
        "worker": ["Worker", "WorkerLostError"],
    },
)
