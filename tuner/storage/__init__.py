"""Storage: results.db, the study folder, locks, caches, and the files that are shipped."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
