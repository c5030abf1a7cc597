from typing import Any

import pytest

from plugins import ApiKeyCredential, Permanent, Secret, Transient
from plugins.builtin.stock import StockPrice, stock_plugin
from plugins.sdk.conform import Nonconforming, conform
from tests.plugins.builtin.conftest import Run
from tests.plugins.target import Target

QUOTE = {"symbol": "AAPL", "price": 187.25, "changePercent": -5.5, "asOf": "2026-11-23T14:00:00Z"}


async def test_the_price_comes_from_the_default_provider(run: Run, target: Target) -> None:
    target.answer("/quotes/AAPL", 200, QUOTE | {"volume": 5})
    assert await run(stock_plugin({"default": f"{target.url}/"}), {"symbol": "AAPL"}) == QUOTE
    assert target.requests[0].headers["accept"] == "application/json"


async def test_a_node_may_name_another_provider(run: Run, target: Target) -> None:
    target.answer("/v2/quotes/BRK.B", 200, QUOTE)
    stock_price = stock_plugin({"default": "http://10.0.0.1", "other": f"{target.url}/v2"})
    assert (await run(stock_price, {"symbol": "BRK.B", "provider": "other"}))["price"] == 187.25
    with pytest.raises(Permanent, match="it has default, other") as caught:
        await run(stock_price, {"symbol": "AAPL", "provider": "third"})
    assert caught.value.type == "stock.unknownProvider"


async def test_without_a_provider_it_says_so(run: Run) -> None:
    with pytest.raises(Permanent, match="it has none"):
        await run(stock_plugin({}), {"symbol": "AAPL"})


async def test_an_unknown_symbol_is_permanent(run: Run, target: Target) -> None:
    with pytest.raises(Permanent, match="NOPE") as caught:
        await run(stock_plugin({"default": target.url}), {"symbol": "NOPE"})
    assert (caught.value.type, caught.value.status) == ("stock.unknownSymbol", 404)


async def test_a_provider_that_is_down_may_come_back(run: Run, target: Target) -> None:
    target.answer("/quotes/AAPL", 503)
    with pytest.raises(Transient) as caught:
        await run(stock_plugin({"default": target.url}), {"symbol": "AAPL"})
    assert caught.value.type == "http.503"


@pytest.mark.parametrize("answer", [{}, [], QUOTE | {"price": "1"}, QUOTE | {"asOf": "today"}, b"<html>"])
async def test_an_answer_that_is_no_quote_is_named(run: Run, target: Target, answer: Any) -> None:
    target.answer("/quotes/AAPL", 200, answer)
    with pytest.raises(Permanent) as caught:
        await run(stock_plugin({"default": target.url}), {"symbol": "AAPL"})
    assert caught.value.type == "stock.invalidQuote"


async def test_a_provider_may_ask_for_a_key(run: Run, target: Target) -> None:
    target.answer("/quotes/AAPL", 200, QUOTE)
    credentials = {"marketdata": ApiKeyCredential(name="apikey", value=Secret("k"), location="query")}
    await run(stock_plugin({"default": target.url}), {"symbol": "AAPL"}, credentials=credentials)
    assert target.requests[0].query == {"apikey": ["k"]}


async def test_a_symbol_cannot_leave_its_place_in_the_path(run: Run, target: Target) -> None:
    target.answer("/quotes/%5EGSPC", 200, QUOTE)
    await run(stock_plugin({"default": target.url}), {"symbol": "^GSPC"})
    for symbol in ("../admin", "A/B", "A?b=c", "A#", "aapl", "", "A\n", "A" * 17):
        with pytest.raises(Nonconforming):
            conform(StockPrice, {"symbol": symbol})
