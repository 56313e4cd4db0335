from .attempts import repeat_attempts as repeat_attempts, trial_attempts as trial_attempts
from .worker import (
    Worker as Worker,
    WorkerLostError as WorkerLostError,
    open_workers as open_workers,
)
