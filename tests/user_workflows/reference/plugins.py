"""The plugins that random definitions name: two that do the same, one cheap enough to share an activity."""

from typing import Any

from msgspec import Struct

from plugins import Context, Permanent, Plugin, plugin
from tests.user_workflows.reference.drawings import ACTING, CHEAP


class Call(Struct, forbid_unknown_fields=True):
    value: Any = None
    fail: bool = False


def _answer(config: Call) -> Any:
    if config.fail:
        raise Permanent("it was drawn to fail", type="ref.failed")
    return config.value


@plugin(CHEAP, version="1.0.0", effect="pure")
async def cheap(config: Call, ctx: Context) -> Any:
    return _answer(config)


@plugin(ACTING, version="1.0.0", effect="idempotent")
async def acting(config: Call, ctx: Context) -> Any:
    return _answer(config)


PLUGINS: list[Plugin] = [cheap, acting]
