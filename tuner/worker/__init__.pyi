from .attempts import repeat_attempts as repeat_attempts, trial_attempts as trial_attempts
from .channel import WorkerLostError as WorkerLostError
from .worker import Worker as Worker, open_workers as open_workers
