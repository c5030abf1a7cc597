"""How fast work goes: what happened within the last moments, counted."""

import time
from collections import deque


class Pace:
    """Counts what happens.

    Args:
        seconds: for how long each is remembered.
        most: how many are remembered at a time.
    """

    def __init__(self, seconds: float, *, most: int) -> None:
        self._seconds = seconds
        self._moments: deque[float] = deque(maxlen=most)

    def note(self) -> None:
        """It happens now."""
        self._moments.append(time.monotonic())

    def recent(self) -> int:
        """Return how often it has happened of late."""
        oldest = time.monotonic() - self._seconds
        while self._moments and self._moments[0] < oldest:
            self._moments.popleft()
        return len(self._moments)
