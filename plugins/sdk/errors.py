"""Errors that a plugin raises, and their tree.

    PluginError
    ├── Transient   another attempt may succeed
    └── Permanent   another attempt would give the same answer

Every error has a stable `type` (``noun.reason``, shown to users and matched by ``retry.nonRetryable``) and a
message fit to show to the person who drew the workflow. Messages never hold secrets.
"""

from typing import Literal


class PluginError(Exception):
    """A plugin call failed."""

    def __init__(self, message: str, *, type: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.type = type
        #: the status that a remote server answered, where there was one
        self.status = status


class Transient(PluginError):
    """The call failed in a way that may pass.

    Args:
        effect: ``"none"`` when surely nothing happened outside (refused connection, 429, 503 with
            Retry-After): always safe to repeat. ``"unknown"`` when the request may have been acted on.
        retry_after: seconds the other side asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        type: str = "transient",
        effect: Literal["none", "unknown"] = "unknown",
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, type=type, status=status)
        self.effect: Literal["none", "unknown"] = effect
        self.retry_after = retry_after


class Permanent(PluginError):
    """The call failed and would fail again."""

    def __init__(self, message: str, *, type: str = "permanent", status: int | None = None) -> None:
        super().__init__(message, type=type, status=status)
