"""Predicting images and files and scoring a model, one way: at one scale or many, whole or in windows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
