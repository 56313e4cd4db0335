"""The mannequin: a small embedded base, its data set and its judges, without GPU or model hub."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
