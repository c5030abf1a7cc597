"""``/v1/dead-letters``: jobs that failed for good: search, edit, replay."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_202_ACCEPTED
from msgspec import Struct

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.body import NoFields
from gateway.errors import BodyFault, InvalidBody
from gateway.moments import moment
from gateway.routes.pages import Cursor, Limit, Page, page_of, position
from gateway.text import PRINTABLE, Filter
from internal_jobs.client import Job
from internal_jobs.dead_letters.client import DeadLetters
from internal_jobs.dead_letters.model import DeadLetterFilter, Replay, ReplayRequest
from plugins.host.registry import Registry
from plugins.sdk.conform import Nonconforming, conform

ErrorType = Annotated[
    str | None,
    QueryParameter(name="errorType", max_length=200, pattern=PRINTABLE, description="e.g. `http.503`, or `http`"),
]
ClosedAfter = Annotated[datetime | None, QueryParameter(name="closedAfter", description="died at or after")]
ClosedBefore = Annotated[datetime | None, QueryParameter(name="closedBefore", description="died before")]


class EditedLetter(Struct, frozen=True, forbid_unknown_fields=True):
    payload: dict[str, Any]


@get("/v1/dead-letters", opt=requires("jobs.read"))
async def list_dead_letters(
    *,
    principal: NamedDependency[Principal],
    dead_letters: NamedDependency[DeadLetters],
    type: Filter = None,
    tag: Filter = None,
    error_type: ErrorType = None,
    closed_after: ClosedAfter = None,
    closed_before: ClosedBefore = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Job]:
    """List the jobs that failed for good, newest first."""
    wanted = DeadLetterFilter(
        type=type,
        tag=tag,
        error_type=error_type,
        closed_after=moment("closedAfter", closed_after),
        closed_before=moment("closedBefore", closed_before),
    )
    page = await dead_letters.list(principal.tenant_id, wanted, limit=limit, cursor=position(cursor))
    return Page(items=page.items, next_cursor=page.next_cursor)


@patch("/v1/dead-letters/{job_id:str}", opt=requires("jobs.write"))
async def edit_dead_letter(
    job_id: FromPath[str],
    data: JSONBody[EditedLetter],
    principal: NamedDependency[Principal],
    dead_letters: NamedDependency[DeadLetters],
    registry: NamedDependency[Registry],
) -> Job:
    """Give a dead letter another payload before it is replayed."""
    plugin = registry.find((await dead_letters.find(principal.tenant_id, job_id)).type)
    if plugin is not None:
        try:
            conform(plugin.config, data.payload)
        except Nonconforming as error:
            faults = [BodyFault("/payload" + flaw.pointer, flaw.detail) for flaw in error.flaws]
            raise InvalidBody("The job cannot be done as described.", errors=faults) from None
    return await dead_letters.edit(principal.tenant_id, job_id, data.payload)


@post("/v1/dead-letters/replay", opt=requires("jobs.write"), status_code=HTTP_202_ACCEPTED)
async def replay_dead_letters(
    data: JSONBody[ReplayRequest],
    principal: NamedDependency[Principal],
    dead_letters: NamedDependency[DeadLetters],
) -> Response[Replay]:
    """Start dead letters over, at a rate, each as a new effect; it stops by itself when too many fail again."""
    replay = await dead_letters.replay(principal.tenant_id, data)
    return Response(replay, headers={"Location": f"/v1/dead-letters/replays/{replay.id}"})


@get("/v1/dead-letters/replays", opt=requires("jobs.read"))
async def list_replays(
    principal: NamedDependency[Principal],
    dead_letters: NamedDependency[DeadLetters],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Replay]:
    """List replays, newest first."""
    found = await dead_letters.replays(principal.tenant_id, limit=limit + 1, cursor=position(cursor))
    items, next_cursor = page_of(found, limit, lambda replay: replay.id)
    return Page(items=items, next_cursor=next_cursor)


@get("/v1/dead-letters/replays/{replay_id:str}", opt=requires("jobs.read"))
async def show_replay(
    replay_id: FromPath[str], principal: NamedDependency[Principal], dead_letters: NamedDependency[DeadLetters]
) -> Replay:
    """Show how far a replay is, and what has become of what it put back."""
    return await dead_letters.find_replay(principal.tenant_id, replay_id)


@post("/v1/dead-letters/replays/{replay_id:str}/stop", opt=requires("jobs.write"), status_code=HTTP_202_ACCEPTED)
async def stop_replay(
    replay_id: FromPath[str],
    principal: NamedDependency[Principal],
    dead_letters: NamedDependency[DeadLetters],
    data: JSONBody[NoFields | None] = None,
) -> Replay:
    """Put no more back."""
    return await dead_letters.stop_replay(principal.tenant_id, replay_id)


ROUTES = [list_dead_letters, edit_dead_letter, replay_dead_letters, list_replays, show_replay, stop_replay]
