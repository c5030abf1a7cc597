"""The plugins that random definitions name: of each effect one, and all do the same."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from plugins import Context, Effect, Permanent, Plugin, plugin
from tests.user_workflows.reference.drawings import ACTING, CHEAP, UNSAFE


class Call(Struct, forbid_unknown_fields=True):
    value: Any = None
    fail: bool = False


#: the world: told of every call, it says what comes of it
World = Callable[[Call, Context, Effect], Awaitable[Any]]


async def echo(config: Call, ctx: Context, effect: Effect) -> Any:
    return config.value


def make_plugins(world: World = echo) -> list[Plugin]:
    """Return the plugins, at work on a `world`; without one each call comes to its own value."""

    def make(id: str, effect: Effect) -> Plugin:
        @plugin(id, version="1.0.0", effect=effect)
        async def call(config: Call, ctx: Context) -> Any:
            answer = await world(config, ctx, effect)
            if config.fail:
                raise Permanent("it was drawn to fail", type="ref.failed")
            return answer

        return call

    return [make(CHEAP, "read"), make(ACTING, "idempotent"), make(UNSAFE, "unsafe")]


PLUGINS = make_plugins()
