"""Storage: results.db, the study folder, locks, caches, and the files that are shipped."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.storage.files import replacing as replacing
    from tuner.storage.folder import StudyFolder as StudyFolder
    from tuner.storage.lock import locked as locked
    from tuner.storage.store import Store as Store

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "files": ["replacing"],
        "folder": ["StudyFolder"],
        "lock": ["locked"],
        "store": ["Store"],
    },
)
