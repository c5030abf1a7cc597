"""Opaque ids: a prefix that says what it names, then a ULID, so that ids sort by time of creation."""

from datetime import datetime
from typing import Literal

from ulid import ULID

Prefix = Literal[
    "ten", "key", "wf", "ex", "job", "cred", "ep", "trg", "sch", "rep", "fir", "aud", "msg", "dlv", "att", "in"
]  # fmt: skip


def new_id(prefix: Prefix) -> str:
    """Return a new id, e.g. ``wf_01jd3x0v7k8m5qf2c9hz6w4t1b``."""
    return f"{prefix}_{str(ULID()).lower()}"


def first_id(prefix: Prefix, at: datetime) -> str:
    """Return the lowest id that can have been made at a moment, or after it."""
    milliseconds = int(at.timestamp() * 1000)
    return f"{prefix}_{str(ULID(milliseconds.to_bytes(6, 'big') + bytes(10))).lower()}"
