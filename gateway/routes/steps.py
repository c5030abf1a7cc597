"""``/v1/executions/{id}/steps``: what became of each node, inside loops too."""

from datetime import datetime
from typing import Annotated, Any, Literal

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, Struct, UnsetType

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.errors import BadRequest, BodyFault
from gateway.routes.pages import Limit, Page
from gateway.text import Filter
from user_workflows.errors import InvalidInput
from user_workflows.executions.executions import Executions
from user_workflows.executions.views import Step
from user_workflows.interpreter.messages import StepError, StepStatus

RoundPath = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^\d{1,6}(,\d{1,6}){0,7}$(?!\n)",
        description="numbers of items and rounds, the outermost loop's first; fewer stand for all rounds in them",
    ),
]
StepCursor = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^\d{1,6}(\.\d{1,6}){0,7}:[A-Za-z_][A-Za-z0-9_]{0,63}$(?!\n)",
        description="`nextCursor` of the page before",
    ),
]


class StepErrorBody(Struct, frozen=True, kw_only=True):
    type: str
    message: str
    #: what a remote server answered, where there was one
    status: int | UnsetType = UNSET
    attempts: int


class CompensationBody(Struct, frozen=True, kw_only=True):
    status: Literal["running", "completed", "failed"]
    error: StepErrorBody | None


class StepBody(Struct, frozen=True, kw_only=True, rename="camel"):
    node_id: str
    #: item and round numbers inside loops
    path: tuple[int, ...]
    status: StepStatus
    attempt: int
    input: Any
    output: Any
    port: str | None
    error: StepErrorBody | None
    reason: str | None
    started_at: datetime | None
    closed_at: datetime | None
    #: how it went to undo it, where it was undone
    compensation: CompensationBody | UnsetType = UNSET


@get("/v1/executions/{execution_id:str}/steps", opt=requires("executions.read"))
async def list_steps(
    *,
    execution_id: FromPath[str],
    principal: NamedDependency[Principal],
    executions: NamedDependency[Executions],
    within: Filter = None,
    path: RoundPath = None,
    limit: Limit = 50,
    cursor: StepCursor = None,
) -> Page[StepBody]:
    """List all top-level nodes, also those not reached, in the order of the plan.

    With the id of a loop in `within`, those inside it instead, round by round and in pages; with `path`, those of one
    item or round.
    """
    if within is None and (path is not None or cursor is not None):
        raise _misused("path" if path is not None else "cursor", "belongs to the steps inside a loop; say within")
    try:
        page = await executions.steps(
            principal.tenant_id,
            execution_id,
            within=within,
            path=[] if path is None else [int(number) for number in path.split(",")],
            limit=limit,
            cursor=cursor,
        )
    except InvalidInput as error:
        raise _misused(error.pointer.removeprefix("/"), error.detail) from error
    return Page(items=[step_body(step) for step in page.items], next_cursor=page.next_cursor)


def _misused(parameter: str, detail: str) -> BadRequest:
    return BadRequest(f"The parameter {parameter} {detail}.", errors=[BodyFault(parameter, detail)])


def step_body(step: Step) -> StepBody:
    undone = step.compensation
    return StepBody(
        node_id=step.node_id,
        path=step.path,
        status=step.status,
        attempt=step.attempt,
        input=step.input,
        output=step.output,
        port=step.port,
        error=_error_body(step.error),
        reason=step.reason,
        started_at=step.started_at,
        closed_at=step.closed_at,
        compensation=UNSET
        if undone is None
        else CompensationBody(status=undone.status, error=_error_body(undone.error)),
    )


def _error_body(error: StepError | None) -> StepErrorBody | None:
    if error is None:
        return None
    return StepErrorBody(
        type=error.type,
        message=error.message,
        status=UNSET if error.status is None else error.status,
        attempts=error.attempts,
    )


ROUTES = [list_steps]
