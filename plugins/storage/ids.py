"""Opaque ids: a prefix that says what it names, then a ULID, so that ids sort by time of creation.

ULIDs are those of https://github.com/ulid/spec, in small letters.
"""

import os
import threading
import time
from datetime import datetime
from typing import Literal

Prefix = Literal[
    "ten", "key", "wf", "ex", "job", "cred", "ep", "trg", "sch", "rep", "fir", "aud", "msg", "dlv", "att", "in"
]  # fmt: skip

#: the bits of a ULID that are random; before them there are 48 of the milliseconds since 1970
_RANDOM = 80
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(first + second for first in _DIGITS for second in _DIGITS)
_SHIFTS = tuple(range(120, -1, -10))


class _Rising:
    """Numbers each above the one before, whichever thread asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest = 0

    def at_least(self, number: int) -> int:
        with self._lock:
            self._latest = max(number, self._latest + 1)
            return self._latest


_rising = _Rising()


def new_id(prefix: Prefix) -> str:
    """Return a new id, e.g. ``wf_01jd3x0v7k8m5qf2c9hz6w4t1b``; it sorts after all that this process has made."""
    number = time.time_ns() // 1_000_000 << _RANDOM | int.from_bytes(os.urandom(10))
    return f"{prefix}_{_encode(_rising.at_least(number))}"


def first_id(prefix: Prefix, at: datetime) -> str:
    """Return the lowest id that can have been made at a moment, or after it."""
    return id_of(prefix, at, bytes(10))


def id_of(prefix: Prefix, at: datetime, rest: bytes) -> str:
    """Return the id of a moment and ten bytes: the same for the same."""
    return f"{prefix}_{_encode(int(at.timestamp() * 1000) << _RANDOM | int.from_bytes(rest))}"


def _encode(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
