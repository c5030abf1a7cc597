"""`stock.price`: the latest price of a share, from a provider that the installation names."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from plugins import ApiKey, Context, Permanent, Plugin, plugin
from plugins.builtin.authentication import authentication
from plugins.builtin.status import status_error

DEFAULT_PROVIDER = "default"


class StockPrice(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    symbol: Annotated[str, Meta(pattern=r"^[A-Z0-9.^=-]{1,16}$(?!\n)", description="Ticker, e.g. AAPL or BRK.B")]
    provider: Annotated[
        str, Meta(min_length=1, max_length=64, description="One of the providers of this installation.")
    ] = DEFAULT_PROVIDER


class Quote(Struct, frozen=True, kw_only=True, rename="camel"):
    symbol: str
    price: float
    #: against the previous close, in percent
    change_percent: float
    as_of: Annotated[datetime, Meta(tz=True)]


def stock_plugin(providers: Mapping[str, str]) -> Plugin:
    """Make `stock.price`.

    Args:
        providers: base URLs by name; ``default`` is used where a node names none. A provider answers
            ``GET {base}/quotes/{symbol}`` with ``{symbol, price, changePercent, asOf}``, and 404 for an unknown one.
    """

    @plugin("stock.price", version="1.0.0", effect="read", credentials=[ApiKey("marketdata", optional=True)])
    async def stock_price(config: StockPrice, ctx: Context) -> Quote:
        """Look up the latest price of a share."""
        headers, params = authentication(ctx, "marketdata")
        url = f"{_base(providers, config.provider)}/quotes/{quote(config.symbol, safe='')}"
        response = await ctx.http.request("GET", url, headers={"accept": "application/json"} | headers, params=params)
        if response.status == 404:
            raise Permanent(f"{config.symbol} is not a known symbol", type="stock.unknownSymbol", status=404)
        if response.status != 200:
            raise status_error(response)
        try:
            return msgspec.json.decode(response.content, type=Quote)
        except msgspec.DecodeError as error:
            raise Permanent(f"the provider's answer is not a quote: {error}", type="stock.invalidQuote") from None

    return stock_price


def _base(providers: Mapping[str, str], name: str) -> str:
    base = providers.get(name)
    if base is None:
        known = ", ".join(providers) or "none"
        raise Permanent(
            f"there is no quote provider {name!r} in this installation; it has {known}", type="stock.unknownProvider"
        )
    return base.rstrip("/")
