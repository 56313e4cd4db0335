"""Results: the findings of a study, read from results.db."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.results.confirmation import read_confirmation as read_confirmation
    from tuner.results.recipe_runs import read_series as read_series
    from tuner.results.results import read_results as read_results
    from tuner.results.study_data import read_study_data as read_study_data

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "confirmation": ["read_confirmation"],
        "recipe_runs": ["read_series"],
        "results": ["read_results"],
        "study_data": ["read_study_data"],
    },
)
