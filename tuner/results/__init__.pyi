from .confirmation import read_confirmation as read_confirmation
from .recipe_runs import read_series as read_series
from .results import read_results as read_results
from .study_data import read_study_data as read_study_data
