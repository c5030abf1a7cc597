"""``/v1/executions/{id}/why/{nodeId}``: why a node is in the state it is in."""

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.errors import BadRequest, BodyFault
from user_workflows.errors import InvalidInput
from user_workflows.executions.explainer import Explainer
from user_workflows.executions.why import Why

Path = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^\d{1,9}(,\d{1,9}){0,7}$",
        description="item and round numbers of the loops around the node, the outermost first, e.g. `3,0`",
    ),
]


@get("/v1/executions/{execution_id:str}/why/{node_id:str}", opt=requires("executions.read"))
async def explain_node(
    execution_id: FromPath[str],
    node_id: FromPath[str],
    principal: NamedDependency[Principal],
    explainer: NamedDependency[Explainer],
    path: Path = None,
) -> Why:
    """Say why a node ran, runs, waits, was skipped or has not begun, and what it waits for."""
    numbers = [] if path is None else [int(number) for number in path.split(",")]
    try:
        return await explainer.why(principal.tenant_id, execution_id, node_id, numbers)
    except InvalidInput as error:
        raise BadRequest(
            f"The {error.pointer} does not fit.", errors=[BodyFault(error.pointer, error.detail)]
        ) from None


ROUTES = [explain_node]
