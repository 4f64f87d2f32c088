"""A clock that moves when it is told to."""


class FakeClock:
    def __init__(self, millis: int = 1_790_000_000_000) -> None:
        self.millis = millis

    def now(self) -> int:
        return self.millis

    def monotonic(self) -> float:
        return self.millis / 1000

    def advance(self, seconds: float) -> None:
        self.millis += round(seconds * 1000)
