"""The steps of an execution through the API, those inside loops too."""

from typing import Any

import httpx
import pytest

from tests.gateway.application import Headers
from tests.gateway.routes.test_executions import publish

GRID: dict[str, Any] = {
    "nodes": [
        {
            "id": "rows",
            "pluginId": "foreach",
            "config": {
                "items": "{{ input }}",
                "nodes": [
                    {"id": "row", "pluginId": "set", "config": {"values": {"n": "{{ item }}"}}},
                    {
                        "id": "cells",
                        "pluginId": "while",
                        "config": {
                            "condition": "{{ index < 2 }}",
                            "nodes": [{"id": "cell", "pluginId": "set", "config": {"values": {"at": "{{ index }}"}}}],
                        },
                    },
                ],
                "edges": [{"source": "row", "target": "cells"}],
            },
        },
    ],
}


@pytest.fixture
async def steps(api: httpx.AsyncClient, owner: Headers) -> str:
    """The path of the steps of an execution with eleven rows of two cells."""
    where = await publish(api, owner, GRID)
    done = await api.post(
        f"{where}/executions", headers=owner | {"Prefer": "wait=20"}, json={"input": list(range(100, 111))}
    )
    assert done.json()["status"] == "completed", done.text
    return f"/v1/executions/{done.json()['id']}/steps"


async def test_the_steps_of_one_round_and_of_all(api: httpx.AsyncClient, owner: Headers, steps: str) -> None:
    top = (await api.get(steps, headers=owner)).json()
    assert [(step["nodeId"], step["path"]) for step in top["items"]] == [("rows", [])]

    seventh = (await api.get(steps, headers=owner, params={"within": "rows", "path": "7"})).json()
    assert seventh["nextCursor"] is None
    assert [(step["nodeId"], step["path"], step["status"]) for step in seventh["items"]] == [
        ("row", [7], "completed"),
        ("cells", [7], "completed"),
    ]
    assert seventh["items"][0]["output"] == {"n": 107}

    nested = (await api.get(steps, headers=owner, params={"within": "cells", "path": "3,1"})).json()
    assert [(step["path"], step["output"]) for step in nested["items"]] == [([3, 1], {"at": 1})]
    in_one_row = (await api.get(steps, headers=owner, params={"within": "cells", "path": "3"})).json()
    assert [step["path"] for step in in_one_row["items"]] == [[3, 0], [3, 1]]

    seen: list[Any] = []
    cursor: dict[str, str | int] = {}
    while True:
        page = (await api.get(steps, headers=owner, params={"within": "rows", "limit": 5, **cursor})).json()
        seen += [(*step["path"], step["nodeId"]) for step in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert seen == [(number, node) for number in range(11) for node in ("row", "cells")]


@pytest.mark.parametrize(
    ("params", "status", "parameter"),
    [
        ({"within": "nowhere"}, 404, None),
        ({"within": "row"}, 404, None),
        ({"within": "rows", "path": "1,2"}, 400, "path"),
        ({"within": "rows", "path": "one"}, 400, "path"),
        ({"within": "rows", "cursor": "1"}, 400, "cursor"),
        ({"within": "rows", "cursor": "1:cell"}, 400, "cursor"),
        ({"within": "rows", "limit": "0"}, 400, "limit"),
        ({"path": "1"}, 400, "path"),
    ],
)
async def test_what_cannot_be_asked_is_a_problem(
    api: httpx.AsyncClient, owner: Headers, steps: str, params: dict[str, str], status: int, parameter: str | None
) -> None:
    answer = await api.get(steps, headers=owner, params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if parameter is not None:
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [parameter]
