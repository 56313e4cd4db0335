"""Studies: draw parameters, run trials, store results, stop poor trials, confirm the best."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
