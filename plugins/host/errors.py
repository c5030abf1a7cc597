"""What goes wrong around a plugin, and the tree of it.

PluginError (plugins.sdk.errors)
└── Permanent
    └── UnknownPlugin       no plugin of that id is installed
RegistryError               the installed plugins do not fit together; refused at start
├── DuplicatePlugin
└── BrokenEntryPoint
CallFailed                  an attempt failed; carries a `Failure`
Overtaken                   another attempt has committed something else; carries that
"""

import traceback
from typing import Any

from msgspec import Struct

from plugins.sdk.errors import Permanent


class UnknownPlugin(Permanent):
    """No plugin of that id is installed here."""

    def __init__(self, id: str, hint: str = "") -> None:
        super().__init__(f"no plugin {id!r} is installed" + hint, type="plugin.unknown")
        self.id = id


class RegistryError(Exception):
    """The installed plugins do not fit together."""


class DuplicatePlugin(RegistryError):
    """Two plugins have one id."""


class UnusablePlugin(RegistryError):
    """A plugin's config or output has a type that JSON cannot carry."""


class BrokenEntryPoint(RegistryError):
    """An entry point of the group ``gateway.plugins`` could not be loaded."""


class Failure(Struct, frozen=True, kw_only=True):
    """How one attempt failed, as an engine records it and a user reads it."""

    #: stable, ``noun.reason``
    type: str
    message: str
    #: the status that a remote server answered, where there was one
    status: int | None = None
    attempt: int
    #: seconds until the next attempt; ``None``: this failure is final
    retry_in: float | None = None


class CallFailed(Exception):
    """One attempt of a call failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure = failure


class Overtaken(Exception):
    """Another attempt of this call has committed something else together with it, and that stands."""

    def __init__(self, committed: Any) -> None:
        super().__init__("another attempt has committed something else")
        self.committed = committed


def trace_of(error: BaseException) -> str:
    """Write out where an error came from; unlike what loggers render by themselves, without local variables."""
    return "".join(traceback.format_exception(error))
