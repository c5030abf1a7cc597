"""``/v1/approvals/{token}``: what people are asked, and what they decide. The token is the permission."""

from typing import Annotated, Any

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK
from msgspec import Meta, Struct

from gateway.auth.permissions import PUBLIC, requires
from gateway.auth.principal import Principal
from user_workflows.approvals.desk import Approval, Approvals, Decided, OpenedApproval
from user_workflows.interpreter.approvals import Decision


class Deciding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    decision: Decision
    comment: Annotated[str, Meta(max_length=10_000)] | None = None
    #: fits the form, where there is one; to reject, nobody has to fill it in
    data: Any = None


class OpenApprovals(Struct, frozen=True, kw_only=True):
    items: tuple[OpenedApproval, ...]


@get("/v1/executions/{execution_id:str}/approvals", opt=requires("executions.control"))
async def list_approvals(
    execution_id: FromPath[str], principal: NamedDependency[Principal], approvals: NamedDependency[Approvals]
) -> OpenApprovals:
    """What an execution waits for, with the links: whoever may act on executions may pass them on."""
    return OpenApprovals(items=await approvals.list(principal.tenant_id, execution_id))


@get("/v1/approvals/{token:str}", opt=requires(PUBLIC))
async def show_approval(token: FromPath[str], approvals: NamedDependency[Approvals]) -> Approval:
    """What is asked; 404 when it is decided, too late, or never was."""
    return await approvals.show(token)


@post("/v1/approvals/{token:str}", opt=requires(PUBLIC), status_code=HTTP_200_OK)
async def decide(token: FromPath[str], data: JSONBody[Deciding], approvals: NamedDependency[Approvals]) -> Decided:
    """Decide, once: 409 when the token was used for the other decision; the same one again is answered alike."""
    return await approvals.decide(token, data.decision, comment=data.comment, data=data.data)


ROUTES = [list_approvals, show_approval, decide]
