from .check import check_study as check_study
from .confirm import run_confirm as run_confirm
from .study import run_study as run_study
