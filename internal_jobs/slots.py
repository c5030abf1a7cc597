"""The slots of a lane: how many of its jobs run at a time. The event loop tells the thread that fetches messages."""

import threading
from collections import deque
from collections.abc import Sequence


class Slots:
    """Safe to use from any thread."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken = 0
        self._lock = threading.Lock()
        self._ended: deque[str] = deque()
        self._news = threading.Event()

    @property
    def taken(self) -> int:
        return self._taken

    def free(self) -> int:
        """Return how many more messages may be fetched."""
        return max(0, self._count - self._taken)

    def take(self, count: int) -> None:
        """Take slots for messages that were fetched."""
        with self._lock:
            self._taken += count

    def leave(self, message_id: str) -> None:
        """Give back the slot of a job that is over; its message is to be acknowledged."""
        with self._lock:
            self._taken -= 1
        self._ended.append(message_id)
        self._news.set()

    def ended(self) -> list[str]:
        """Return, once, the messages that are to be acknowledged."""
        self._news.clear()
        return [self._ended.popleft() for _ in range(len(self._ended))]

    def not_acknowledged(self, message_ids: Sequence[str]) -> None:
        """Keep messages for the next time: Redis was not reached."""
        self._ended.extend(message_ids)

    def close(self) -> None:
        """Let nothing more be fetched."""
        with self._lock:
            self._count = 0

    def wake(self) -> None:
        """End a `wait`: there may be something to fetch."""
        self._news.set()

    def wait(self, seconds: float) -> None:
        """Wait until a slot is given back, or for so long."""
        self._news.wait(seconds)
