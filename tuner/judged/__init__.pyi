from .files import Found as Found, find_files as find_files
from .options import JudgeOptions as JudgeOptions, judged_study as judged_study
from .run import run_judged as run_judged
