"""How much tests torture: as much as a variable says, else the whole in CI and less in ``make test``."""

import os


def volume(variable: str, in_ci: float, otherwise: float) -> float:
    """In the variable's unit."""
    return float(os.environ.get(variable) or (in_ci if os.environ.get("CI") == "true" else otherwise))
