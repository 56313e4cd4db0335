"""Training: one run of LoRA or DreamBooth."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.training.held_out_loss import loss_measures as loss_measures
    from tuner.training.loop import Checkpoint as Checkpoint, train as train

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"held_out_loss": ["loss_measures"], "loop": ["Checkpoint", "train"]}
)
