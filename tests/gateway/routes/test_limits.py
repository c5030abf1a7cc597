"""``/v1/limits`` names what is refused for being too large, as the code that refuses it has it."""

import httpx

from plugins.host.perform import MAX_OUTPUT
from tests.gateway.application import Headers
from user_workflows.codec import MAX_PAYLOAD
from user_workflows.interpreter.loops import MAX_RESULTS


async def test_limits_of_what_executions_hold_are_shown(client: httpx.AsyncClient, owner: Headers) -> None:
    limits = (await client.get("/v1/limits", headers=owner)).json()
    assert limits["stepOutputBytes"] == MAX_OUTPUT
    assert limits["foreachResultsBytes"] == MAX_RESULTS
    assert limits["payloadBytes"] == MAX_PAYLOAD
