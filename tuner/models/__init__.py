"""Models: base models, adapters, LoRA files, sampling."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.models.base import BaseModel as BaseModel, load_base as load_base
    from tuner.models.lora_file import read_file as read_file
    from tuner.models.method import loaded as loaded
    from tuner.models.sampling import draw as draw, sample as sample

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["BaseModel", "load_base"],
        "lora_file": ["read_file"],
        "method": ["loaded"],
        "sampling": ["draw", "sample"],
    },
)
