"""Every error as a problem document (RFC 9457), and the one table that maps errors to problems."""

import math
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, ValidationException
from litestar.exceptions.base_exceptions import LitestarException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from msgspec import Struct
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from gateway.body import MAX_BODY
from gateway.errors import BodyFault, Refused
from gateway.rates import rate_headers
from internal_jobs.errors import (
    DeliveryConflict,
    DeliveryNotFound,
    EndpointNotFound,
    InvalidEndpoint,
    InvalidEvent,
    InvalidJob,
    InvalidLimit,
    InvalidSchedule,
    JobConflict,
    JobNotFound,
    ReplayNotFound,
    ScheduleNotFound,
)
from plugins.mail.errors import InvalidMailSetting, TemplateNotFound
from plugins.vault.errors import (
    CredentialNotFound,
    InvalidCredential,
    KeyNeeded,
    KeyNotFound,
    KeysDestroyed,
    NotAuthorizable,
)
from user_workflows.errors import (
    Conflict,
    EngineUnavailable,
    FeedUnavailable,
    InputTooLarge,
    InvalidData,
    InvalidDefinition,
    InvalidInput,
    NotFound,
    OverCap,
    StaleRevision,
    TooMuchKept,
    UnreadableEvent,
)

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"

#: what a problem is called, by the last segment of its type: status, title
KINDS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request is malformed"),
    "unauthenticated": (401, "Who is calling is not known"),
    "invalid-signature": (401, "The webhook is not signed as agreed"),
    "forbidden": (403, "The caller may not do this"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "This resource does not know that method"),
    "conflict": (409, "The present state does not allow this"),
    "too-much-kept": (409, "What is kept is too large to be handed on"),
    "idempotency-key-in-flight": (409, "The first request with this key is still being answered"),
    "precondition-failed": (412, "The resource has changed since it was read"),
    "body-too-large": (413, "The body is too large"),
    "input-too-large": (413, "The input is larger than a cap allows"),
    "unsupported-media-type": (415, "The body's media type is not supported"),
    "invalid-body": (422, "The body has invalid fields"),
    "invalid-definition": (422, "The definition has faults"),
    "idempotency-key-reused": (422, "This idempotency key belongs to another request"),
    "too-many-requests": (429, "Too many requests"),
    "over-cap": (429, "A cap is reached, and the workflow refuses what is over it"),
    "internal-error": (500, "Something unexpected went wrong"),
    "unavailable": (503, "A part of the system is not available"),
}

#: seconds that a caller is asked to wait for a part that is down
RETRY_AFTER = 5


class Problem(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is wrong, for programs (`type`, `errors`) and for people (`title`, `detail`)."""

    type: str
    title: str
    status: int
    detail: str
    #: the path that was asked for
    instance: str
    #: every single fault of a body, with its JSON Pointer
    errors: tuple[BodyFault, ...] = ()
    #: finds the request in the logs; of a 5xx only, every answer has it in its `traceparent`
    trace_id: str | None = None


class Description(Struct, frozen=True):
    """An error in the terms of a problem."""

    kind: str
    detail: str
    errors: Sequence[BodyFault] = ()
    headers: Mapping[str, str] = {}


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Answer any exception with its problem; what nobody foresaw is logged and stays inside."""
    description = describe(error)
    if description.kind == "internal-error":
        log.error("request.failed", exc_info=error)
    elif description.kind == "unavailable":
        log.warning("part.unavailable", error=type(error).__name__, detail=str(error)[:500])
    status, title = KINDS[description.kind]
    trace = request.scope.get("trace")
    problem = Problem(
        type=f"/problems/{description.kind}",
        title=title,
        status=status,
        detail=description.detail,
        instance=request.scope["path"],
        errors=tuple(description.errors),
        # Only what is our fault has to be found in the logs; an absent and a foreign object must not differ.
        trace_id=getattr(trace, "trace_id", None) if status >= 500 else None,
    )
    return Response(problem, status_code=status, media_type=MEDIA_TYPE, headers=dict(description.headers))


def describe(error: Exception) -> Description:
    """Find the nearest class of `error` in the table."""
    for ancestor in type(error).__mro__:
        if ancestor in _TABLE:
            return _TABLE[ancestor](error)
    return _unforeseen(error)


def _refused(error: Any) -> Description:
    return Description(error.problem, error.detail, error.errors, error.headers)


def _unforeseen(_error: Any) -> Description:
    return Description("internal-error", "The error has been logged under the trace id.")


def _definition(error: Any) -> Description:
    errors = [BodyFault(fault.pointer, fault.message, fault.code) for fault in error.faults]
    return Description("invalid-definition", "The definition has faults; each is named below.", errors)


def _too_deep(_error: Any) -> Description:
    return Description("bad-request", "The body is nested too deeply.")


def _unavailable(_error: Any) -> Description:
    detail = f"The database does not answer; try again in {RETRY_AFTER} s."
    return Description("unavailable", detail, headers=_retry_after(RETRY_AFTER))


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(seconds))}


def _over_cap(error: OverCap) -> dict[str, str]:
    return _retry_after(max(1.0, error.retry_after)) | rate_headers(error.rate)


def _sentence(message: str) -> str:
    """Make a sentence of a message, which begins small and ends without a full stop."""
    return message[:1].upper() + message[1:].rstrip(".") + "."


def _database(error: Any) -> Description:
    return _unavailable(error) if error.connection_invalidated else _unforeseen(error)


def _parameters(error: Any) -> Description:
    faults = [
        BodyFault(_wire_name(str(fault.get("key", ""))), str(fault.get("message", "")))
        for fault in error.extra or ()
        if isinstance(fault, dict)
    ]
    if any(fault.pointer == "data" for fault in faults):
        return Description("bad-request", "This request needs a JSON body.")
    return Description("bad-request", "A parameter of the request is missing or wrong.", faults)


def _wire_name(argument: str) -> str:
    """The framework names a handler's argument; callers know the parameter."""
    first, *others = argument.split("_")
    return first + "".join(other.title() for other in others)


_BY_STATUS = {
    400: "bad-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
    429: "too-many-requests",
    503: "unavailable",
}


def _framework(error: Any) -> Description:
    kind = _BY_STATUS.get(error.status_code)
    if kind is None:
        return _unforeseen(error)
    detail = error.detail if error.detail != HTTPStatus(error.status_code).phrase else KINDS[kind][1] + "."
    return Description(kind, detail, headers=error.headers or {})


def _too_large(_error: Any) -> Description:
    detail = f"A body may have at most {MAX_BODY:,} bytes, and less where GET /v1/limits says so."
    return Description("body-too-large", detail)


#: error class → its description; the nearest ancestor counts
_TABLE: dict[type[BaseException], Callable[[Any], Description]] = {
    Refused: _refused,
    # the framework
    ValidationException: _parameters,
    MethodNotAllowedException: _framework,
    RequestEntityTooLarge: _too_large,
    HTTPException: _framework,
    LitestarException: _unforeseen,
    RecursionError: _too_deep,
    # user workflows
    NotFound: lambda error: Description("not-found", f"There is no {error.what} {error.id}."),
    InvalidDefinition: _definition,
    InvalidInput: lambda error: Description(
        "invalid-body", "A value cannot be used.", [BodyFault(error.pointer, error.detail)]
    ),
    InvalidData: lambda error: Description(
        "invalid-body",
        "What was filled in does not fit the form.",
        [BodyFault(pointer, message) for pointer, message in error.faults],
    ),
    UnreadableEvent: lambda error: Description("bad-request", _sentence(error.message)),
    OverCap: lambda error: Description("over-cap", _sentence(error.message), headers=_over_cap(error)),
    InputTooLarge: lambda error: Description("input-too-large", _sentence(error.message)),
    StaleRevision: lambda error: Description("precondition-failed", _sentence(error.message)),
    TooMuchKept: lambda error: Description("too-much-kept", _sentence(error.message)),
    Conflict: lambda error: Description("conflict", _sentence(error.message)),
    EngineUnavailable: lambda error: Description(
        "unavailable", _sentence(error.message), headers=_retry_after(error.retry_after)
    ),
    FeedUnavailable: lambda error: Description(
        "unavailable", _sentence(error.message), headers=_retry_after(error.retry_after)
    ),
    # jobs
    JobNotFound: lambda error: Description("not-found", f"There is no job {error.job_id}."),
    InvalidJob: lambda error: Description(
        "invalid-body", "The job cannot be kept.", [BodyFault(error.pointer, error.detail)]
    ),
    ReplayNotFound: lambda error: Description("not-found", f"There is no replay {error.replay_id}."),
    InvalidLimit: lambda error: Description(
        "invalid-body", "The limit cannot be set.", [BodyFault(error.pointer, error.detail)]
    ),
    ScheduleNotFound: lambda error: Description("not-found", f"There is no schedule {error.schedule_id}."),
    InvalidSchedule: lambda error: Description(
        "invalid-body", "The schedule cannot be kept.", [BodyFault(error.pointer, error.detail)]
    ),
    EndpointNotFound: lambda error: Description("not-found", f"There is no endpoint {error.endpoint_id}."),
    InvalidEndpoint: lambda error: Description(
        "invalid-body", "The endpoint cannot be so.", [BodyFault(error.pointer, error.detail)]
    ),
    InvalidEvent: lambda error: Description(
        "invalid-body", "The event cannot be sent.", [BodyFault(error.pointer, error.detail)]
    ),
    DeliveryNotFound: lambda error: Description("not-found", f"There is no delivery {error.delivery_id}."),
    DeliveryConflict: lambda error: Description("conflict", _sentence(str(error))),
    JobConflict: lambda error: Description("conflict", _sentence(str(error))),
    # credentials
    # Its principal is still known for some seconds.
    KeysDestroyed: lambda _: Description("unauthenticated", "This API key is not valid."),
    KeyNotFound: lambda error: Description("not-found", _sentence(str(error))),
    KeyNeeded: lambda error: Description("conflict", _sentence(str(error))),
    CredentialNotFound: lambda error: Description("not-found", f"There is no credential {error.credential_id}."),
    InvalidCredential: lambda error: Description(
        "invalid-body",
        "The credential cannot be stored as described.",
        [BodyFault(flaw.pointer, flaw.detail) for flaw in error.faults],
    ),
    NotAuthorizable: lambda error: Description("conflict", _sentence(str(error))),
    # mails
    TemplateNotFound: lambda error: Description("not-found", f"There is no template {error.name}."),
    InvalidMailSetting: lambda error: Description(
        "invalid-body", "It cannot be stored so.", [BodyFault(flaw.pointer, flaw.detail) for flaw in error.faults]
    ),
    # the database
    OperationalError: _unavailable,
    InterfaceError: _unavailable,
    DBAPIError: _database,
    PoolExhausted: _unavailable,
    # Refused, reset, timed out, or not found by name: the drivers pass these on as they are.
    OSError: _unavailable,
}
