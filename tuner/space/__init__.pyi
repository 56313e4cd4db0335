from .config import StudyConfig as StudyConfig
from .load import load_study as load_study
from .suite import SuiteConfig as SuiteConfig
from .train_config import TrainConfig as TrainConfig
from .write import space_hash as space_hash, to_yaml as to_yaml
