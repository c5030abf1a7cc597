"""Moments that lists are narrowed by."""

import httpx
import pytest

from tests.gateway.application import Headers

PARAMETERS = [
    ("/v1/executions", "startedAfter"),
    ("/v1/inbound-events", "receivedAfter"),
    ("/v1/audit", "after"),
    ("/v1/dead-letters", "closedAfter"),
    ("/v1/dead-letters", "closedBefore"),
]


@pytest.mark.parametrize(("path", "name"), PARAMETERS)
async def test_a_time_without_an_offset_is_refused_where_it_stands(
    client: httpx.AsyncClient, owner: Headers, path: str, name: str
) -> None:
    answer = await client.get(path, params={name: "2030-01-31T09:00:00"}, headers=owner)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"] == [{"pointer": name, "detail": "needs an offset, e.g. 2030-01-31T09:00:00Z"}]


@pytest.mark.parametrize(("path", "name"), PARAMETERS)
async def test_a_time_beyond_what_utc_can_write_is_the_first_or_the_last(
    client: httpx.AsyncClient, owner: Headers, path: str, name: str
) -> None:
    for value in ("0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"):
        answer = await client.get(path, params={name: value}, headers=owner)
        assert answer.status_code == 200, answer.text
