"""Two plugins in a package of their own: one async, one plain."""

import json
from typing import Annotated

from msgspec import Meta, Struct

from plugins import Context, Transient, plugin


class Greeting(Struct, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(description="Who is greeted")]
    ledger: Annotated[str, Meta(description="Where each attempt is written down")]
    failures: Annotated[int, Meta(ge=0, description="How many attempts fail first")] = 0


class Greeted(Struct):
    text: str
    attempt: int


def _entry(config: Greeting, ctx: Context) -> bytes:
    return json.dumps({"key": ctx.idempotency_key, "attempt": ctx.attempt, "name": config.name}).encode()


@plugin("greeting.send", version="2.1.0", effect="idempotent")
async def greeting_send(config: Greeting, ctx: Context) -> Greeted:
    """Greet somebody, after a few failures."""
    await ctx.http.request("POST", config.ledger, content=_entry(config, ctx))
    if ctx.attempt <= config.failures:
        raise Transient("the greeter is shy", type="greeting.shy", effect="none", retry_after=0.05)
    return Greeted(text=f"hello {config.name}", attempt=ctx.attempt)


@plugin("greeting.shout", version="2.1.0", effect="idempotent")
def greeting_shout(config: Greeting, ctx: Context) -> Greeted:
    """Greet somebody loudly, from a plain function."""
    ctx.wait(ctx.http.request("POST", config.ledger, content=_entry(config, ctx)))
    if ctx.attempt <= config.failures:
        raise Transient("the greeter is hoarse", type="greeting.hoarse", effect="none", retry_after=0.05)
    return Greeted(text=f"HELLO {config.name}", attempt=ctx.attempt)
