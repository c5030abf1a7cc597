"""The URLs of webhook triggers: a token for each, made once and never changed."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import and_, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from plugins.storage.database import Database
from plugins.vault.cipher import Sealer
from user_workflows.definition.model import Trigger
from user_workflows.tokens import hash_of, new_token
from user_workflows.workflows.tables import token_place, workflow_triggers, workflows
from user_workflows.workflows.versions import PublishedPlan


class Hook(Struct, frozen=True, kw_only=True):
    """Where a call to a webhook URL leads."""

    tenant_id: str
    trigger: Trigger
    #: the version that it starts
    published: PublishedPlan

    @property
    def workflow_id(self) -> str:
        return self.published.workflow_id


# Built once: every delivery asks.
_BY_TOKEN = (
    select(
        workflow_triggers.c.tenant_id,
        workflow_triggers.c.workflow_id,
        workflow_triggers.c.trigger_id,
        workflows.c.published_version,
    )
    .join(
        workflows,
        and_(workflows.c.tenant_id == workflow_triggers.c.tenant_id, workflows.c.id == workflow_triggers.c.workflow_id),
    )
    .where(workflow_triggers.c.token_hash == bindparam("token_hash"))
    .where(workflows.c.active, workflows.c.deleted_at.is_(None))
)


async def ensure_tokens(
    connection: AsyncConnection, database: Database, sealer: Sealer, workflow_id: str, triggers: Iterable[Trigger]
) -> None:
    """Give each webhook trigger that has none a token of 256 random bits."""
    known = select(workflow_triggers.c.trigger_id).where(
        workflow_triggers.c.tenant_id == sealer.tenant_id,
        workflow_triggers.c.workflow_id == workflow_id,
        workflow_triggers.c.token_hash.is_not(None),
    )
    have = set((await connection.execute(known)).scalars())
    for trigger in triggers:
        if trigger.type != "webhook" or trigger.id in have:
            continue
        token = new_token()
        made = {
            "token_hash": hash_of(token),
            "token_sealed": sealer.seal(token.encode(), token_place(workflow_id, trigger.id)),
        }
        row = {"tenant_id": sealer.tenant_id, "workflow_id": workflow_id, "trigger_id": trigger.id, "scheduled": False}
        insert = database.insert(workflow_triggers).values(row | made)
        key = ["tenant_id", "workflow_id", "trigger_id"]
        await connection.execute(insert.on_conflict_do_update(index_elements=key, set_=made))


async def read_tokens(
    connection: AsyncConnection, sealer: Sealer, workflow_ids: Sequence[str]
) -> dict[tuple[str, str], str]:
    """Return the tokens of some workflows, by workflow and trigger."""
    query = select(workflow_triggers).where(
        workflow_triggers.c.tenant_id == sealer.tenant_id,
        workflow_triggers.c.workflow_id.in_(workflow_ids),
        workflow_triggers.c.token_hash.is_not(None),
    )
    return {
        (row.workflow_id, row.trigger_id): sealer.open(
            row.token_sealed, token_place(row.workflow_id, row.trigger_id)
        ).decode()
        for row in await connection.execute(query)
    }


async def find_token(connection: AsyncConnection, token: str) -> Any | None:
    """Return tenant_id, workflow_id, trigger_id and published_version of an active workflow's token."""
    return (await connection.execute(_BY_TOKEN, {"token_hash": hash_of(token)})).one_or_none()


async def forget_tokens(connection: AsyncConnection, tenant_id: str, workflow_id: str) -> None:
    """Make the URLs of a workflow lead nowhere, for good."""
    mine = (workflow_triggers.c.tenant_id == tenant_id, workflow_triggers.c.workflow_id == workflow_id)
    await connection.execute(update(workflow_triggers).where(*mine).values(token_hash=None, token_sealed=None))
