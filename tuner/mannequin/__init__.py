"""The mannequin: a small embedded base, its data set and its judges, without GPU or model hub."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.mannequin.building.build import build as build
    from tuner.mannequin.dataset import named_folder as named_folder
    from tuner.mannequin.render import draw as draw

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"building.build": ["build"], "dataset": ["named_folder"], "render": ["draw"]},
)
