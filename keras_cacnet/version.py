"""The version, which the package and its distribution share."""

__version__ = "0.2.0"
