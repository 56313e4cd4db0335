"""Studies: draw parameters, run trials, store results, stop poor trials, confirm the best."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.study.check import check_study as check_study
    from tuner.study.confirm import run_confirm as run_confirm
    from tuner.study.study import run_study as run_study

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"check": ["check_study"], "confirm": ["run_confirm"], "study": ["run_study"]},
)
