"""A clock that moves when a caller says so."""


class FakeClock:
    def __init__(self, millis: int = 1_790_000_000_000) -> None:
        self.millis = millis
        self._set_back = 0

    def now(self) -> int:
        return self.millis

    def ahead_of(self, reference: int) -> int:
        return self.millis - reference

    def monotonic(self) -> float:
        return (self.millis + self._set_back) / 1000

    def advance(self, seconds: float) -> None:
        self.millis += round(seconds * 1000)

    def set_back(self, seconds: float) -> None:
        """The wall clock only."""
        self.millis -= round(seconds * 1000)
        self._set_back += round(seconds * 1000)
