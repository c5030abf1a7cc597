"""What a rehearsal may take: steps, time and data, counted where every change of a node is told."""

import time

import msgspec

from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.node import NodeState

MAX_STEPS = 2_000
MAX_SECONDS = 5.0
#: of the outputs, as JSON
MAX_BYTES = 16 * 2**20


class Exceeded(Exception):
    """The rehearsal takes more than it may; the message says of what, and what to do."""


class Tally(Journal):
    """The journal of a rehearsal: it ends what goes on for too long."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0
        self._bytes = 0
        self._deadline = time.monotonic() + MAX_SECONDS
        #: nothing is counted any more: what is left is settled
        self.is_closed = False

    def note(self, state: NodeState) -> None:
        super().note(state)
        if self.is_closed:
            return
        if state.status == "running":
            self._steps += 1
        elif state.status == "completed":
            self._bytes += len(msgspec.json.encode(state.ports))
        if self._steps > MAX_STEPS:
            self._end(f"more than {MAX_STEPS:,} steps")
        if self._bytes > MAX_BYTES:
            self._end(f"more than {MAX_BYTES // 2**20} MiB of outputs")
        if time.monotonic() > self._deadline:
            self._end(f"more than {MAX_SECONDS:g} s")

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _end(self, what: str) -> None:
        self.is_closed = True
        raise Exceeded(f"a dry run takes no {what}; give the loops pinned outputs, or a smaller input")
