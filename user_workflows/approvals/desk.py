"""Approvals: links that are made, looked at, used once, and told to the execution that waits.

A decision is committed first and told then; one that could not be told is told again by the sweep, and none is lost. A
link is open as long as its step waits: what ends the step closes its links.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, select, update
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError

from internal_jobs.client import JobRequest, Jobs
from plugins.storage.database import Database, now
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault
from user_workflows.approvals.rows import (
    decision_place,
    find_link,
    id_of,
    is_over,
    link_place,
    links_of,
    live,
    open_row,
    request_place,
    this_link,
)
from user_workflows.approvals.tables import approval_links, approvals
from user_workflows.client import RPC_TIMEOUT, is_not_found, reaching_temporal
from user_workflows.definition.faults import pointer
from user_workflows.definition.forms import data_faults
from user_workflows.errors import Conflict, EngineUnavailable, InvalidData, NotFound
from user_workflows.executions.tables import executions, path_key
from user_workflows.interpreter.approvals import (
    CLOSE,
    OPEN,
    CloseApproval,
    Decision,
    OpenApproval,
    about_of,
)
from user_workflows.interpreter.messages import workflow_id
from user_workflows.records.announcements import Announcements
from user_workflows.tokens import hash_of, new_token


class Decided(Struct, frozen=True, kw_only=True, rename="camel"):
    """What somebody decided."""

    decision: Decision
    #: who was asked, where links went to single people
    approver: str | None = None
    comment: str | None = None
    data: Any = None
    decided_at: datetime


class Approval(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is asked, as whoever holds a link may see it."""

    title: str
    message: str | None
    #: JSON Schema of the `data` that a decision brings
    form: dict[str, Any] | None
    required: int
    deadline: datetime | None
    #: without what others wrote
    decisions: tuple[Decision, ...]


class Link(Struct, frozen=True, kw_only=True, rename="camel"):
    approver: str | None
    url: str
    token: str
    decision: Decision | None


class OpenedApproval(Struct, frozen=True, kw_only=True, rename="camel"):
    """An approval that an execution waits for, for those who may act on it."""

    node_id: str
    path: tuple[int, ...]
    title: str
    message: str | None
    form: dict[str, Any] | None
    required: int
    deadline: datetime | None
    links: tuple[Link, ...]


class Approvals:
    """All approvals.

    Args:
        database: holds the rows.
        vault: seals what is in them.
        jobs: send the mails.
        temporal: runs the executions that wait.
        public_url: of this API, for the links.
        announcements: tell that an execution waits.
    """

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        jobs: Jobs,
        temporal: Client,
        public_url: str,
        announcements: Announcements | None = None,
    ) -> None:
        self._announcements = announcements
        self._database = database
        self._vault = vault
        self._jobs = jobs
        self._temporal = temporal
        self._public_url = public_url.rstrip("/")

    @activity.defn(name=OPEN)
    async def open(self, call: OpenApproval) -> bool:
        """Make the links of an approval, and the mails that carry them; a repetition makes none.

        Returns:
            Whether its deadline has to `close` it: always, since there is such a thing.
        """
        sealer = await self._vault.sealer(call.tenant_id)
        id = id_of(call)
        request = {"title": call.title, "message": call.message, "form": call.form}
        row = {
            "tenant_id": call.tenant_id,
            "id": id,
            "execution_id": call.execution_id,
            "node_id": call.node_id,
            "path": path_key(call.path),
            "generation": call.generation,
            "required": call.required,
            "request_sealed": sealer.seal_json(request, request_place(id)),
            "created_at": now(),
            "expires_at": None if call.until is None else datetime.fromisoformat(call.until),
        }
        insert = self._database.insert(approvals).on_conflict_do_nothing(index_elements=["tenant_id", "id"])
        async with self._database.transaction(call.tenant_id) as connection:
            if (await connection.execute(insert.returning(approvals.c.id), [row])).first() is None:
                return True
            people: Sequence[str | None] = call.approvers or [None] * call.required
            for number, approver in enumerate(people):
                token = new_token()
                link_id = f"{id}.{number:02}"
                link = {
                    "tenant_id": call.tenant_id,
                    "id": link_id,
                    "approval_id": id,
                    "token_hash": hash_of(token),
                    "link_sealed": sealer.seal_json({"token": token, "approver": approver}, link_place(link_id)),
                }
                await connection.execute(approval_links.insert().values(link))
                if approver is not None:
                    await self._jobs.enqueue(
                        call.tenant_id, self._mail(call, approver, token), key=link_id, connection=connection
                    )
            if self._announcements is not None:
                await self._announcements.tell_approval(connection, sealer, call)
        self._jobs.wake()
        return True

    @activity.defn(name=CLOSE)
    async def close(self, call: CloseApproval) -> Sequence[dict[str, Any]]:
        """Let nobody decide any more, and return what was decided, as it is told; a repetition returns the same."""
        mine = approvals.c.tenant_id == call.tenant_id, approvals.c.id == id_of(call)
        async with self._database.transaction(call.tenant_id) as connection:
            # Whoever decides holds the same row: a decision is before this, or is refused.
            change = update(approvals).where(*mine, approvals.c.closed_at.is_(None)).values(closed_at=now())
            await connection.execute(change)
            links = await links_of(connection, call.tenant_id, id_of(call))
        sealer = await self._vault.sealer(call.tenant_id)
        decided = sorted((link for link in links if link.decided_at is not None), key=lambda link: link.decided_at)
        return [self._told(link, sealer) for link in decided]

    async def list(self, tenant_id: str, execution_id: str) -> tuple[OpenedApproval, ...]:
        """Return what an execution waits for, with the links.

        Raises:
            NotFound: no such execution of this tenant.
        """
        known = select(executions.c.id).where(executions.c.tenant_id == tenant_id, executions.c.id == execution_id)
        query = live().where(approvals.c.tenant_id == tenant_id, approvals.c.execution_id == execution_id)
        async with self._database.read(tenant_id) as connection:
            if (await connection.execute(known)).first() is None:
                raise NotFound("execution", execution_id)
            rows = (await connection.execute(query.order_by(approvals.c.created_at, approvals.c.id))).all()
            links = {row.id: await links_of(connection, tenant_id, row.id) for row in rows}
        sealer = await self._vault.sealer(tenant_id)
        return tuple(
            OpenedApproval(
                node_id=row.node_id,
                path=tuple(int(part) for part in row.path.split(".") if part),
                required=row.required,
                deadline=row.expires_at,
                links=tuple(self._read_link(link, sealer) for link in links[row.id]),
                **sealer.open_json(row.request_sealed, request_place(row.id)),
            )
            for row in rows
            if not is_over(row, links[row.id])
        )

    async def show(self, token: str) -> Approval:
        """Return what the holder of a token is asked.

        Raises:
            NotFound: no such token, or it is closed.
        """
        async with self._database.across.read() as connection:
            link = await find_link(connection, token)
            row, links = await open_row(connection, link)
        sealer = await self._vault.sealer(link.tenant_id)
        return Approval(
            required=row.required,
            deadline=row.expires_at,
            decisions=tuple(each.decision for each in links if each.decision is not None),
            **sealer.open_json(row.request_sealed, request_place(row.id)),
        )

    async def decide(self, token: str, decision: Decision, *, comment: str | None, data: Any) -> Decided:
        """Keep a decision, and tell the execution; the same decision again is answered with the first.

        Raises:
            NotFound: no such token, or it is closed.
            Conflict: the token was used for the other decision.
            InvalidData: `data` does not fit the form.
        """
        async with self._database.across.read() as connection:
            link = await find_link(connection, token)
        sealer = await self._vault.sealer(link.tenant_id)
        written = {"comment": comment, "data": data}
        async with self._database.transaction(link.tenant_id) as connection:
            # One decision of an approval at a time: whether a link is open depends on the others.
            await connection.execute(
                select(approvals.c.id)
                .where(approvals.c.tenant_id == link.tenant_id, approvals.c.id == link.approval_id)
                .with_for_update()
            )
            link = await find_link(connection, token)
            if link.decision is not None and link.decision != decision:
                raise Conflict(f"this link was used at {link.decided_at:%Y-%m-%dT%H:%M:%SZ}: {link.decision}")
            if link.decision is None:
                row, _ = await open_row(connection, link)
                request = sealer.open_json(row.request_sealed, request_place(row.id))
                # A form asks for what an approval needs; to reject, nobody has to fill it in.
                if request["form"] is not None and (decision == "approved" or data is not None):
                    faults = data_faults(request["form"], data)
                    if faults:
                        raise InvalidData([(pointer("data", *path), message) for path, message in faults])
                change = {
                    "decision": decision,
                    "decision_sealed": sealer.seal_json(written, decision_place(link.id)),
                    "decided_at": now(),
                }
                await connection.execute(update(approval_links).where(*this_link(link)).values(change))
                link = await find_link(connection, token)
        await self._tell_or_leave(link)
        return self._decided(link, sealer)

    async def retell(self, *, limit: int = 200) -> int:
        """Tell executions the decisions that they were not told of yet; return how many there were."""
        query = select(approval_links).where(
            approval_links.c.told_at.is_(None), approval_links.c.decided_at.is_not(None)
        )
        async with self._database.across.read() as connection:
            links = (await connection.execute(query.order_by(approval_links.c.decided_at).limit(limit))).all()
        for link in links:
            await self._tell_or_leave(link)
        return len(links)

    async def _tell_or_leave(self, link: "Row[Any]") -> None:
        """Tell of a decision; while Temporal is away it is left to the sweep."""
        if link.told_at is not None:
            return
        sealer = await self._vault.sealer(link.tenant_id)
        async with self._database.read(link.tenant_id) as connection:
            query = select(approvals).where(approvals.c.tenant_id == link.tenant_id, approvals.c.id == link.approval_id)
            row = (await connection.execute(query)).one()
        path = [int(part) for part in row.path.split(".") if part]
        handle = self._temporal.get_workflow_handle(workflow_id(link.tenant_id, row.execution_id))
        told = {**self._told(link, sealer), "generation": row.generation}
        try:
            async with reaching_temporal():
                await handle.signal("tell", args=[about_of(row.node_id, path), told], rpc_timeout=RPC_TIMEOUT)
        except EngineUnavailable:
            return
        except RPCError as error:
            # An execution that is closed has nothing to be told.
            if not is_not_found(error):
                raise
        async with self._database.transaction(link.tenant_id) as connection:
            await connection.execute(update(approval_links).where(*this_link(link)).values(told_at=now()))

    def _told(self, link: "Row[Any]", sealer: Sealer) -> dict[str, Any]:
        decided = self._decided(link, sealer)
        return {
            "link": link.id,
            "decision": decided.decision,
            "approver": decided.approver,
            "comment": decided.comment,
            "data": decided.data,
            "decidedAt": decided.decided_at,
        }

    def _decided(self, link: "Row[Any]", sealer: Sealer) -> Decided:
        return Decided(
            decision=link.decision,
            approver=sealer.open_json(link.link_sealed, link_place(link.id))["approver"],
            decided_at=link.decided_at,
            **sealer.open_json(link.decision_sealed, decision_place(link.id)),
        )

    def _read_link(self, link: "Row[Any]", sealer: Sealer) -> Link:
        opened = sealer.open_json(link.link_sealed, link_place(link.id))
        return Link(url=self._url(opened["token"]), decision=link.decision, **opened)

    def _url(self, token: str) -> str:
        return f"{self._public_url}/v1/approvals/{token}"

    def _mail(self, call: OpenApproval, approver: str, token: str) -> JobRequest:
        title = " ".join(call.title.split())[:200]
        lines = [call.title, *([call.message] if call.message else [])]
        lines += [] if call.until is None else [f"Please decide until {call.until}."]
        lines += [
            f"What is asked: {self._url(token)}",
            'To decide, POST {"decision": "approved"} or {"decision": "rejected"} to the same address, once. '
            "The address is yours alone: whoever has it decides in your place.",
        ]
        payload = {"to": approver, "subject": f"Your approval is asked for: {title}", "text": "\n\n".join(lines)}
        return JobRequest(type="email.send", payload=payload)
