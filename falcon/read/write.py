"""The writes of projections."""

from typing import Any, TypeAlias

# A NamedTuple, of one of its read model's own kinds. Each sets; none adds. Written twice is written once, and of two to
# the same key the later one counts.
Write: TypeAlias = tuple[Any, ...]
