"""All attacks by name."""

from typing import Final

from tools.attack import attacks, costly

ATTACKS: Final = {**attacks.ATTACKS, **costly.COSTLY}
