"""``/v1/audit``: who did what to which object, when."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from gateway.audit.trail import AuditRecord, Trail
from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.moments import moment
from gateway.routes.pages import Cursor, Limit, Page, page_of, position
from gateway.text import PRINTABLE

Filter = Annotated[str | None, QueryParameter(pattern=PRINTABLE, max_length=300)]
ObjectFilter = Annotated[
    str | None,
    QueryParameter(name="objectId", pattern=PRINTABLE, max_length=80, description="what was acted on, or made"),
]
After = Annotated[datetime | None, QueryParameter(description="when it was done")]


@get("/v1/audit", opt=requires("audit.read"))
async def list_audit_records(
    *,
    principal: NamedDependency[Principal],
    trail: NamedDependency[Trail],
    action: Filter = None,
    actor: Filter = None,
    object_id: ObjectFilter = None,
    after: After = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AuditRecord]:
    """List actions, newest first. Starts and jobs are not among them: they are records themselves."""
    found = await trail.list(
        principal.tenant_id,
        action=action,
        actor=actor,
        object_id=object_id,
        after=moment("after", after),
        limit=limit + 1,
        before=position(cursor),
    )
    items, next_cursor = page_of(found, limit, lambda record: record.id)
    return Page(items=items, next_cursor=next_cursor)


ROUTES = [list_audit_records]
