"""A step borrows what its version binds to it, while its execution is open: the record is asked, not the message."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import Struct
from sqlalchemy import update

from plugins import Bearer, BearerCredential, Context, plugin
from plugins.sdk.errors import Permanent
from plugins.storage.database import Database
from plugins.vault.credentials import Credentials
from plugins.vault.lending import Borrower, Lender
from plugins.vault.table import credentials
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import chain, edges, node
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.executions.bindings import ExecutionBindings

AUTH = Bearer("auth")


class Nothing(Struct):
    """No config."""


@plugin("test.keyed", version="1.0.0", effect="unsafe", credentials=[AUTH])
async def keyed(config: Nothing, ctx: Context) -> int:
    """Tell how long the token is that it was lent."""
    credential = ctx.credential("auth")
    assert isinstance(credential, BearerCredential)
    return len(credential.token.reveal())


@pytest.fixture(scope="module")
async def lane(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lane]:
    folder: Path = tmp_path_factory.mktemp("bindings")
    database = Database(new_sqlite(folder / "gateway.db"))
    async with open_lane(database, temporal_address, folder, plugins=[keyed]) as opened:
        yield opened
    await database.close()


async def keep(lane: Lane) -> str:
    made = await Credentials(lane.database, lane.vault).create(
        lane.tenant_id, type="bearer", name="API", data={"token": "twelve chars"}
    )
    return made.id


def lender_of(lane: Lane) -> Lender:
    bindings = ExecutionBindings(database=lane.database, workflows=lane.workflows)
    return Lender(lane.database, lane.vault, permit=bindings.refusal)


async def refusal(lane: Lane, execution_id: str, credential_id: str, step: str, plugin_id: str = "test.keyed") -> str:
    borrower = Borrower(tenant_id=lane.tenant_id, plugin_id=plugin_id, step=step, execution_id=execution_id)
    with pytest.raises(Permanent) as caught:
        await lender_of(lane).lend(borrower, AUTH, credential_id)
    assert caught.value.type == "credential.notAllowed"
    return str(caught.value)


async def test_every_step_borrows_what_is_bound_to_it(lane: Lane) -> None:
    """Alone and in a chain, in a loop, and to undo another step."""
    bound = {"credentials": {"auth": await keep(lane)}}
    loop = node("each", "foreach", items="{{ [1, 2] }}", nodes=[node("inside", "test.keyed", **bound)])
    first = node("first", "test.keyed", **bound)
    done = await lane.run({"nodes": [first, loop], "edges": edges("first>each")})
    assert (done.status, done.output) == ("completed", {"each": [{"inside": 12}, {"inside": 12}]})
    undo = {"compensate": {"pluginId": "test.keyed", "config": {}, **bound}}
    failed = await lane.run(chain(node("done", values={}) | undo, node("bad", "stop", status="failed")))
    assert failed.status == "failed"
    (undone,) = [step for step in (await lane.steps(failed)).values() if step.node_id == "done"]
    assert undone.compensation is not None
    assert undone.compensation.status == "completed", undone


async def test_a_step_that_does_not_bind_it_is_refused_before_anything_is_decrypted(lane: Lane) -> None:
    mine, other = await keep(lane), await keep(lane)
    loop = node(
        "each",
        "foreach",
        items="{{ [1] }}",
        nodes=[node("inside", "test.keyed", credentials={"auth": mine})],
    )
    drawn = chain(node("hold", "wait", signal="go"), node("act", "test.keyed", credentials={"auth": mine}), loop)
    execution = await lane.start(await lane.publish(drawn))
    lender = lender_of(lane)
    for step in ("act", "inside.0", "inside.17"):
        borrower = Borrower(tenant_id=lane.tenant_id, plugin_id="test.keyed", step=step, execution_id=execution.id)
        assert (await lender.lend(borrower, AUTH, mine)).allowed_hosts == ()
    # What cannot be read tells whether somebody tried.
    async with lane.database.transaction(lane.tenant_id) as connection:
        await connection.execute(update(credentials).values(data_sealed=b"unreadable"))
    assert "does not bind it to slot 'auth' of hold" in await refusal(lane, execution.id, mine, "hold")
    assert "does not bind it to slot 'auth' of act" in await refusal(lane, execution.id, other, "act")
    assert "does not bind it" in await refusal(lane, execution.id, mine, "act", plugin_id="test.other")
    assert "there is no execution ex_none" in await refusal(lane, "ex_none", mine, "act")
    await lane.executions.terminate(lane.tenant_id, execution.id)


async def test_what_is_left_of_an_execution_that_has_ended_borrows_nothing(lane: Lane) -> None:
    mine = await keep(lane)
    drawn = chain(node("hold", "wait", signal="go"), node("act", "test.keyed", credentials={"auth": mine}))
    execution = await lane.start(await lane.publish(drawn))
    await lane.executions.terminate(lane.tenant_id, execution.id)
    ended = await lane.finish(execution)
    told = await refusal(lane, execution.id, mine, "act")
    assert f"execution {execution.id} is {ended.status}, and nothing of it may act any more" in told
