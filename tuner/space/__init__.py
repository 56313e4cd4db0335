"""Search spaces: the YAML file and the configuration that it means."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.space.config import StudyConfig as StudyConfig
    from tuner.space.load import load_study as load_study
    from tuner.space.suite import SuiteConfig as SuiteConfig
    from tuner.space.train_config import TrainConfig as TrainConfig
    from tuner.space.write import space_hash as space_hash, to_yaml as to_yaml

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["StudyConfig"],
        "load": ["load_study"],
        "suite": ["SuiteConfig"],
        "train_config": ["TrainConfig"],
        "write": ["space_hash", "to_yaml"],
    },
)
