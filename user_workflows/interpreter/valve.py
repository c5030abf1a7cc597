"""Holds nodes back while an execution is paused (design §6, Run controls)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Valve:
    """Lets nodes begin, or holds them back: one for a walk and every walk inside it."""

    def __init__(self) -> None:
        self.is_open = True
        #: in the order in which the walks began, so that a replay wakes them in the same one
        self._listeners: dict[int, Callable[[], None]] = {}
        self._listened = 0

    def close(self) -> None:
        self.is_open = False

    def open(self) -> None:
        """Let nodes begin again, and wake the walks that held some back."""
        self.is_open = True
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
