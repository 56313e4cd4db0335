"""Data: read folders as training pictures and captions, check them, prepare them."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.data.adults import forbidden_words as forbidden_words
    from tuner.data.captions import apply_policy as apply_policy
    from tuner.data.folder import (
        TrainingSet as TrainingSet,
        TrainingSets as TrainingSets,
        read_folder as read_folder,
    )

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "adults": ["forbidden_words"],
        "captions": ["apply_policy"],
        "folder": ["TrainingSet", "TrainingSets", "read_folder"],
    },
)
