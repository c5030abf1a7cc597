"""Holds nodes back while an execution is paused, or drains to go on in another run (design §6)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Valve:
    """Lets nodes begin, or holds them back: one for a walk and every walk inside it."""

    def __init__(self) -> None:
        self.is_paused = False
        #: the present run of the execution begins nothing more
        self.is_draining = False
        #: in the order in which the walks began, so that a replay wakes them in the same one
        self._listeners: dict[int, Callable[[], None]] = {}
        self._listened = 0

    @property
    def is_open(self) -> bool:
        return not (self.is_paused or self.is_draining)

    def close(self) -> None:
        self.is_paused = True

    def drain(self) -> None:
        """Let nothing new begin in this run of the execution."""
        self.is_draining = True

    def refill(self) -> None:
        """Go on in this run after all."""
        self.is_draining = False
        self._wake()

    def open(self) -> None:
        """Let nodes begin again, and wake the walks that held some back."""
        self.is_paused = False
        self._wake()

    def _wake(self) -> None:
        for listener in [*self._listeners.values()]:
            listener()

    @contextmanager
    def heard_by(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` whenever the valve opens, for as long as the block runs."""
        self._listened += 1
        number = self._listened
        self._listeners[number] = listener
        try:
            yield
        finally:
            del self._listeners[number]
