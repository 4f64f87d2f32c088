"""Falcon: a chat messaging backend built on actors."""

__version__ = "0.2.0.dev0"
