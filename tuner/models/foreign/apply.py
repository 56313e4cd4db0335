"""Put a LoRA of any trainer on a base at a strength, and take it off again without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tuner.models.base import BaseModel
from tuner.models.foreign.lora import ForeignLora


@contextmanager
def apply_foreign(base: BaseModel, lora: ForeignLora, strength: float = 1.0) -> Iterator[None]:
    """Put `lora` on UNet and text encoder of `base` at `strength` for a while.

    Afterwards every weight of the base has the bits it had before, even after an error. The
    strength multiplies the change of each weight. Other adapters are inactive meanwhile. Raises
    LoraFileError for a LoRA of another base, and for one with modules that the base does not have;
    the base is then unchanged.
    """
    raise NotImplementedError
    yield
