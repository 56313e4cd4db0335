from .calibration import Trust as Trust
from .score_folder import find_pictures as find_pictures, judge as judge, open_judges as open_judges
from .selfcheck import judge_reports as judge_reports, score_cases as score_cases
