"""Why a node is in the state it is in, through the API."""

import httpx

from tests.gateway.application import Headers
from tests.gateway.routes.test_executions import SUM, publish


async def test_a_node_is_explained(client: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(client, owner, SUM)
    # Temporal is down, so that nothing begins.
    await client.post(f"{where}/executions", headers=owner, json={"key": "k"})
    (execution,) = (await client.get("/v1/executions", headers=owner)).json()["items"]
    asked = f"/v1/executions/{execution['id']}/why"
    answer = await client.get(f"{asked}/loud", headers=owner)
    assert answer.json() == {
        "status": "queued",
        "reason": "the execution has not begun: no worker has taken it up yet",
        "waitingFor": [],
        "since": execution["createdAt"],
    }
    absent = await client.get(f"{asked}/absent", headers=owner)
    assert (absent.status_code, absent.json()["detail"]) == (404, "There is no node absent.")
    for path in ("0", "x", "1,"):
        refused = await client.get(f"{asked}/loud?path={path}", headers=owner)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "path")
