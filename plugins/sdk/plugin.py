"""The `@plugin` decorator and the `Plugin` it makes."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Struct

from plugins.sdk.credential import Slot
from plugins.sdk.effect import Effect

T = TypeVar("T")

_ID = re.compile(r"[a-z][a-zA-Z0-9]*(\.[a-z][a-zA-Z0-9]*)*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class Port(Struct, Generic[T], frozen=True):
    """An output that leaves by a port other than the default: ``return Port("true", value)``."""

    name: str
    value: T


class Plugin(Struct, frozen=True, kw_only=True, eq=False):
    """One unit of functionality. Runs unchanged as a Temporal activity and as a Dramatiq actor.

    Calling a `Plugin` calls the function it was made from.
    """

    id: str
    version: str
    #: fixed, or a function of the config
    effect: Effect | Callable[[Any], Effect]
    #: the Struct that the config is decoded into, unknown fields refused
    config: type[Any]
    #: the type that the function returns (inside `Port`, where it says so)
    output: Any
    #: every port the function may leave by; the first is the default
    ports: tuple[str, ...] = ("output",)
    credentials: tuple[Slot, ...] = ()
    description: str = ""
    function: Callable[..., Any]
    is_async: bool

    def effect_of(self, config: Any) -> Effect:
        """Return the effect of a call with this decoded `config`."""
        return self.effect(config) if callable(self.effect) else self.effect

    def __call__(self, config: Any, ctx: Any) -> Any:
        return self.function(config, ctx)


def plugin(
    id: str,
    *,
    version: str,
    effect: Effect | Callable[[Any], Effect],
    credentials: Sequence[Slot] = (),
    ports: Sequence[str] = ("output",),
) -> Callable[[Callable[..., Any]], Plugin]:
    """Make a `Plugin` of a function ``(config, ctx) -> output``, sync or async.

    Args:
        id: ``noun.verb``, e.g. ``http.request``; also the activity type, the job type and the metrics label.
        version: semantic version of the plugin's behaviour.
        effect: see `plugins.sdk.effect`; a function receives the decoded config.
        credentials: the slots that a workflow may bind.
        ports: every port that the function may leave by, the default first.

    Raises:
        TypeError: the function or a declaration does not have the required form; the message names both sides.
    """
    if not _ID.fullmatch(id):
        raise TypeError(f"plugin id {id!r} is not of the form noun.verb")
    if not _VERSION.fullmatch(version):
        raise TypeError(f"plugin {id}: version {version!r} is not of the form 1.2.3")
    if not ports or len(set(ports)) != len(ports):
        raise TypeError(f"plugin {id}: ports {list(ports)!r} must be at least one, each named once")
    names = [slot.name for slot in credentials]
    if len(set(names)) != len(names):
        raise TypeError(f"plugin {id}: credential slots {names!r} must each be named once")

    def decorate(function: Callable[..., Any]) -> Plugin:
        config, output = _signature(id, function)
        return Plugin(
            id=id,
            version=version,
            effect=effect,
            config=config,
            output=output,
            ports=tuple(ports),
            credentials=tuple(credentials),
            description=inspect.getdoc(function) or "",
            function=function,
            is_async=inspect.iscoroutinefunction(function),
        )

    return decorate


def _signature(id: str, function: Callable[..., Any]) -> tuple[type[Any], Any]:
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 2:
        raise TypeError(f"plugin {id}: {function.__name__} must take (config, ctx), it takes {len(parameters)}")
    hints = get_type_hints(function, include_extras=True)
    config = hints.get(parameters[0].name)
    if not (isinstance(config, type) and issubclass(config, Struct)):
        raise TypeError(f"plugin {id}: the first parameter must be annotated with a msgspec Struct, not {config!r}")
    if "return" not in hints:
        raise TypeError(f"plugin {id}: {function.__name__} must annotate what it returns")
    output = hints["return"]
    if get_origin(output) is Port:
        (output,) = get_args(output)
    return config, output
