"""Exports: files of a trial for other programs, checked after writing."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.export.model import export_trial as export_trial

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"model": ["export_trial"]}
)
