"""Recorded stock quotes, so that the example works offline and gives the same answer every day."""

from datetime import datetime
from importlib.resources import files

import msgspec
from msgspec import Struct


class Quote(Struct, frozen=True, kw_only=True, rename="camel"):
    symbol: str
    price: float
    change_percent: float
    as_of: datetime


class _Recorded(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    price: float
    change_percent: float
    as_of: datetime


def recorded_quotes() -> dict[str, Quote]:
    """Return the quotes of ``quotes.json`` by symbol."""
    content = files("gateway.up").joinpath("quotes.json").read_bytes()
    return {
        symbol: Quote(symbol=symbol, price=quote.price, change_percent=quote.change_percent, as_of=quote.as_of)
        for symbol, quote in msgspec.json.decode(content, type=dict[str, _Recorded]).items()
    }
