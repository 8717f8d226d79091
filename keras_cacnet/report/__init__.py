"""The page of a run: one HTML file with all that it left, to be opened anywhere."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
