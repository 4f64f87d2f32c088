"""All attacks by name."""

from typing import Final

from tools.attack import attacks, costly, slow

ATTACKS: Final = {**attacks.ATTACKS, **costly.COSTLY, **slow.SLOW}
