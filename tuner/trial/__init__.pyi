from .messages import RepeatWork as RepeatWork, Rung as Rung, TrialWork as TrialWork
from .setup import open_bench as open_bench
from .trial import run_trial as run_trial
from .workbench import Workbench as Workbench
