"""Reproducing the paper: tables as data, recipes by name, ablations, costs, figures, archives for servers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
