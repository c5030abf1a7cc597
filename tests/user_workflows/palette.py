"""Definitions for tests, and plugins for them to name, without a network behind them."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from plugins.host.registry import Registry
from plugins.sdk.context import Context
from plugins.sdk.credential import Slot
from plugins.sdk.plugin import plugin


class PriceConfig(Struct, frozen=True, forbid_unknown_fields=True):
    symbol: Annotated[str, Meta(pattern="^[A-Z.]{1,10}$")]
    decimals: Annotated[int, Meta(ge=0, le=8)] = 2


class Price(Struct, frozen=True):
    symbol: str
    price: float


@plugin("stock.price", version="1.0.0", effect="read")
async def stock_price(config: PriceConfig, ctx: Context) -> Price:
    return Price(config.symbol, 10.0)


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    value: str


class MailConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    to: str | list[str]
    subject: str
    text: str = ""
    headers: tuple[Header, ...] = ()
    reply_to: str | None = None


@plugin("email.send", version="1.0.0", effect="idempotent", credentials=[Slot("smtp", ("smtp",), optional=True)])
async def email_send(config: MailConfig, ctx: Context) -> None:
    return None


@plugin("vault.read", version="1.0.0", effect="read", credentials=[Slot("auth", ("bearer", "basic"))])
async def vault_read(config: Header, ctx: Context) -> str:
    return config.value


REGISTRY = Registry([stock_price, email_send, vault_read])

PRICE = {"id": "price", "pluginId": "stock.price", "config": {"symbol": "AAPL"}}
MAIL: dict[str, Any] = {
    "id": "mail",
    "pluginId": "email.send",
    "config": {"to": "{{ vars.email }}", "subject": "AAPL is at {{ nodes.price.output.price }}"},
}


def node(id: str, plugin: str = "set", **config: Any) -> dict[str, Any]:
    return {"id": id, "pluginId": plugin, "config": config or ({"values": {}} if plugin == "set" else {})}


def drawn(*nodes: dict[str, Any], edges: list[tuple[str, ...]] = [], **more: Any) -> dict[str, Any]:  # noqa: B006
    """A definition; an edge is ``(source, target)`` or ``(source, port, target)``."""
    wires = [
        {"source": edge[0], "target": edge[-1], **({"sourceHandle": edge[1]} if len(edge) == 3 else {})}
        for edge in edges
    ]
    return {"nodes": list(nodes), "edges": wires, **more}
