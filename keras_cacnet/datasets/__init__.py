"""Data sets: a folder of your own, imported from any usual form, published ones, and a generated one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
