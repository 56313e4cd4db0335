"""Data: read folders as training pictures and captions, check them, prepare them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
