from .adults import forbidden_words as forbidden_words
from .captions import apply_policy as apply_policy
from .folder import (
    TrainingSet as TrainingSet,
    TrainingSets as TrainingSets,
    read_folder as read_folder,
)
