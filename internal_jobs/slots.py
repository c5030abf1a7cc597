"""The slots of a lane: how many of its jobs run at a time. The event loop tells the thread that fetches messages."""

import threading
from collections import deque
from collections.abc import Sequence

#: A commit takes as long as several groups of short jobs, and what ends meanwhile shares the next one.
UNWRITTEN = 3


class Slots:
    """Safe to use from any thread.

    A slot is free again when its attempt is over, though that is still to be written down: the next begins meanwhile.
    `UNWRITTEN` times as many as run at a time may be in that state.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._running = 0
        self._taken = 0
        self._lock = threading.Lock()
        self._ended: deque[str] = deque()
        self._news = threading.Event()

    @property
    def taken(self) -> int:
        """The messages that were fetched and are not to be acknowledged yet."""
        return self._taken

    def free(self) -> int:
        """Return how many more messages may be fetched."""
        return max(0, min(self._count - self._running, (1 + UNWRITTEN) * self._count - self._taken))

    def take(self, count: int) -> None:
        """Take slots for messages that were fetched."""
        with self._lock:
            self._running += count
            self._taken += count

    def leave(self, count: int) -> None:
        """Give back the slots of attempts that are over."""
        self._give_back(running=count)

    def end(self, message_ids: Sequence[str]) -> None:
        """Note that messages are to be acknowledged: what became of their jobs is written down.

        That hurries nobody: they are acknowledged with the next fetch.
        """
        self._ended.extend(message_ids)
        self._give_back(taken=len(message_ids))

    def ended(self) -> list[str]:
        """Return, once, the messages that are to be acknowledged."""
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

    def wait(self, seconds: float) -> bool:
        """Wait, but not longer than so, until there is room where there was none, or somebody calls `wake`."""
        is_news = self._news.wait(seconds)
        self._news.clear()
        return is_news

    def _give_back(self, *, running: int = 0, taken: int = 0) -> None:
        with self._lock:
            was_full = not self.free()
            self._running -= running
            self._taken -= taken
            makes_room = was_full and self.free() > 0
        if makes_room:
            self._news.set()
