"""The Python client under its earlier name: the package falcon_chat, which has a distribution of its own."""

from falcon_chat import *  # noqa: F403
from falcon_chat import __all__ as __all__
