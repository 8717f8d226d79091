"""Optimizers with learning rates by layer, schedules, and loss scaling for float16."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
