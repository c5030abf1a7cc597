"""``/hooks/{token}``: webhooks of the world. The token finds the trigger; the signature opens it, or nothing does."""

import time
from functools import partial
from typing import Any, Literal

import msgspec
import structlog
from litestar import Request, Response, route
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.exceptions import MethodNotAllowedException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED
from msgspec import Struct

from gateway.answers import to_response
from gateway.auth.permissions import PUBLIC, requires
from gateway.errors import Absent, InvalidSignature
from gateway.idempotency.middleware import scoped_key
from gateway.rates import PACED, rate_headers
from gateway.telemetry.trace import trace_of
from plugins.sdk.credential import Signing, SigningCredential
from plugins.sdk.errors import Permanent
from plugins.signing import Delivery, InvalidSecret, Scheme, scheme_of
from plugins.signing import InvalidSignature as SignatureMismatch
from plugins.vault.lending import Borrower, Lender
from user_workflows.definition.trigger_configs import WebhookConfig
from user_workflows.errors import EngineUnavailable, InputTooLarge, OverCap, UnreadableEvent
from user_workflows.executions.beginnings import StartRequest
from user_workflows.executions.executions import Executions, Launch
from user_workflows.executions.responses import Responses
from user_workflows.inbox.event import RawEvent
from user_workflows.inbox.inbox import Inbox
from user_workflows.interpreter.messages import TriggerCall
from user_workflows.triggers.hooks import Hook
from user_workflows.workflows.workflows import Workflows

log = structlog.get_logger(__name__)

#: the largest delivery, in bytes
MAX_DELIVERY = 2**20

#: seconds that a caller waits for the answer of a `respond` node
LONGEST_WAIT = 30.0

METHODS: list[Literal["GET", "POST", "PUT", "PATCH", "DELETE"]] = ["GET", "POST", "PUT", "PATCH", "DELETE"]

#: who asks for the credential: what `allowedPlugins` of a signing secret must name where it names any
PLUGIN_ID = "webhook"
_SECRET = Signing("secret")

#: headers that carry secrets, and the caller's trace; the scheme's own signature joins them
_DROPPED = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "traceparent", "tracestate"})


class Fired(Struct, frozen=True, rename="camel"):
    execution_id: str


class Challenged(Struct, frozen=True):
    """The answer to a sender that asks whether somebody is here, before it sends anything (Slack)."""

    challenge: str


@route(
    "/hooks/{token:str}",
    http_method=METHODS,
    opt=requires(PUBLIC) | PACED,
    status_code=HTTP_202_ACCEPTED,
    responses={HTTP_200_OK: ResponseSpec(None, description="The workflow's own answer, which may have any status.")},
    request_max_body_size=MAX_DELIVERY,
)
async def receive(
    request: Request[Any, Any, State],
    token: FromPath[str],
    *,
    workflows: NamedDependency[Workflows],
    lender: NamedDependency[Lender],
    executions: NamedDependency[Executions],
    responses: NamedDependency[Responses],
    inbox: NamedDependency[Inbox],
) -> Response[Any]:
    """Start an execution of the workflow that the token belongs to, once per delivery.

    The delivery is kept as it came. While the engine is away the answer is 202 all the same, and it starts later. What
    a cap refuses is kept too, and starts when it is sent again or delivered again from the inbox, whichever is first.
    With ``respond: workflow`` the answer is that of its first `respond` node: 200 or 502 with a word on it when the
    execution closes without one, 202 when it takes longer than half a minute.
    """
    hook = await workflows.triggers.find_hook(token)
    if hook is None:
        raise Absent("There is no webhook under this path.")
    structlog.contextvars.bind_contextvars(tenant_id=hook.tenant_id)
    config = msgspec.convert(hook.trigger.config, WebhookConfig)
    if request.method not in config.methods:
        raise MethodNotAllowedException(headers={"Allow": ", ".join(config.methods)})
    body = await request.body()
    scheme = scheme_of(hook.trigger.config)
    delivery = await _verify(hook, scheme, request, body, lender)
    if delivery.challenge is not None:
        return Response(Challenged(delivery.challenge), status_code=HTTP_200_OK)
    event = _event(request, body, scheme, delivery)
    key = scoped_key("hook", hook.workflow_id, hook.trigger.id, delivery.id)
    keep = partial(inbox.keep, hook.tenant_id, hook.workflow_id, hook.trigger.id, event, key=key)
    try:
        payload = event.payload()
    except UnreadableEvent:
        await keep(verdict="unreadable")
        raise
    start = StartRequest(
        workflow_id=hook.workflow_id,
        published=hook.published,
        trigger=TriggerCall(
            type="webhook",
            id=hook.trigger.id,
            payload=payload,
            traceparent=trace_of(request.scope).traceparent,
        ),
        key=key,
        event=event,
        is_urgent=config.respond == "workflow",
    )
    try:
        launch = await executions.launch(hook.tenant_id, [start])
    except (OverCap, InputTooLarge):
        # Its sender is told, and may give up: its owner can still deliver it.
        await keep(verdict="refused")
        raise
    except EngineUnavailable:
        if config.respond == "workflow":
            raise
        # It is kept, and the sweep starts it: its sender is done, and need not try again for as long as this lasts.
        launch = Launch(executions=[await executions.started_by(hook.tenant_id, key)])
    (execution,) = launch.executions
    structlog.contextvars.bind_contextvars(execution_id=execution.id)
    if config.respond == "workflow":
        return to_response(await responses.wait(execution, hook.tenant_id, LONGEST_WAIT))
    headers = {"Location": f"/v1/executions/{execution.id}", **rate_headers(launch.rate)}
    return Response(Fired(execution.id), headers=headers)


async def _verify(
    hook: Hook, scheme: Scheme, request: Request[Any, Any, State], body: bytes, lender: Lender
) -> Delivery:
    """Check the signature over the raw bytes, before anything of them is parsed.

    Raises:
        InvalidSignature: it is not signed as agreed, or there is no secret to check it with.
    """
    try:
        borrower = Borrower(
            tenant_id=hook.tenant_id, plugin_id=PLUGIN_ID, step=hook.trigger.id, trigger_id=hook.trigger.id
        )
        lent = await lender.lend(borrower, _SECRET, hook.trigger.config.get("secret", ""))
        if not isinstance(lent.credential, SigningCredential):
            raise InvalidSecret("not a signing secret")
        return scheme.verify(lent.credential.secret, dict(request.headers), body, now=time.time())
    except SignatureMismatch as error:
        raise InvalidSignature(f"The delivery is not accepted: {error}.") from None
    except (Permanent, InvalidSecret) as error:
        # Its owner must learn why, its caller must not.
        log.warning("webhook.noSecret", trigger_id=hook.trigger.id, workflow_id=hook.workflow_id, error=str(error))
        raise InvalidSignature("This webhook has no usable secret.") from None


def _event(request: Request[Any, Any, State], body: bytes, scheme: Scheme, delivery: Delivery) -> RawEvent:
    """Return what is kept of a delivery."""
    dropped = _DROPPED | {scheme.signature_header.lower()}
    return RawEvent(
        type="webhook",
        delivery_id=delivery.id,
        method=request.method,
        headers={name: value for name, value in request.headers.items() if name not in dropped},
        query={name: values[0] if len(values) == 1 else values for name, values in request.query_params.dict().items()},
        body=body,
    )


ROUTES = [receive]
