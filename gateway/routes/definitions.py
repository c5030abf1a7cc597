"""``/v1/definitions``: what is wrong with a definition, before anything is stored."""

import asyncio
from typing import Any

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK
from msgspec import Struct

from gateway.audit.middleware import UNAUDITED
from gateway.auth.permissions import requires
from gateway.routes.faults import FaultBody, show_faults
from gateway.routes.plans import PlanBody, show_plan
from plugins.host.registry import Registry
from user_workflows.definition.validate import Validation, validate
from user_workflows.plan.compile import compile_plan


class Candidate(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    #: any JSON: saying what is wrong with it is the point
    definition: Any
    #: of the workflow that it is drawn for, if there is one yet
    workflow_id: str | None = None


class Verdict(Struct, frozen=True, kw_only=True):
    valid: bool
    faults: list[FaultBody]
    #: null when it is not valid
    plan: PlanBody | None


@post("/v1/definitions/validate", opt=requires("definitions.validate") | UNAUDITED, status_code=HTTP_200_OK)
async def validate_definition(data: JSONBody[Candidate], registry: NamedDependency[Registry]) -> Verdict:
    """Check a definition completely: every fault at once, and its plan when there is none."""
    # In a thread: a thousand nodes take long enough for others to notice.
    return await asyncio.to_thread(_judge, data.definition, data.workflow_id, registry)


def _judge(raw: Any, workflow_id: str | None, registry: Registry) -> Verdict:
    validation: Validation = validate(raw, plugins=registry, workflow_id=workflow_id)
    if validation.definition is None:
        return Verdict(valid=False, faults=show_faults(validation.faults), plan=None)
    plan = compile_plan(validation.definition, plugins=registry)
    return Verdict(valid=True, faults=show_faults(validation.faults), plan=show_plan(plan))


ROUTES = [validate_definition]
