"""How much tests torture: as much as a variable says, else a little. The volume is in ``make faults`` and its kin."""

import os


def volume(variable: str, otherwise: float) -> float:
    """In the variable's unit."""
    return float(os.environ.get(variable) or otherwise)
