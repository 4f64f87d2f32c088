"""Falcon: a chat messaging backend built on actors."""

__version__ = "0.1.0"
