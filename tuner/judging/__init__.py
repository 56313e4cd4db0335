"""Judging: score, label and self-check pictures that exist already."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.judging.calibration import Trust as Trust
    from tuner.judging.score_folder import (
        find_pictures as find_pictures,
        judge as judge,
        open_judges as open_judges,
    )
    from tuner.judging.selfcheck import judge_reports as judge_reports, score_cases as score_cases

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calibration": ["Trust"],
        "score_folder": ["find_pictures", "judge", "open_judges"],
        "selfcheck": ["judge_reports", "score_cases"],
    },
)
