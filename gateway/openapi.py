"""The API's description of itself: OpenAPI 3.1 at ``/schema/openapi.json``, without pages from elsewhere."""

from importlib.metadata import version

from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIType
from litestar.routes import HTTPRoute
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition

from gateway.auth.permissions import PUBLIC, requires
from gateway.problems import KINDS, MEDIA_TYPE
from gateway.rates import RATE_HEADERS

_KEY = "apiKey"
_TEXT = Schema(type=OpenAPIType.STRING)
_FAULT = Schema(
    type=OpenAPIType.OBJECT,
    required=["pointer", "detail"],
    properties={"pointer": _TEXT, "detail": _TEXT, "code": _TEXT},
)
_PROBLEM = Schema(
    type=OpenAPIType.OBJECT,
    title="Problem",
    description="What is wrong (RFC 9457).",
    required=["type", "title", "status", "detail", "instance"],
    properties={
        "type": Schema(type=OpenAPIType.STRING, enum=[f"/problems/{kind}" for kind in KINDS]),
        "title": _TEXT,
        "status": Schema(type=OpenAPIType.INTEGER),
        "detail": _TEXT,
        "instance": _TEXT,
        "errors": Schema(type=OpenAPIType.ARRAY, items=_FAULT),
        "traceId": _TEXT,
    },
)
_RETRY_AFTER = OpenAPIHeader(
    schema=Schema(type=OpenAPIType.INTEGER, minimum=1),
    description=(
        "Of 429 and 503: seconds until it is worth another try. Exact for starts per minute and executions per month; "
        "an estimate, of 1 to 60, where an execution has to end first."
    ),
)
_IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    param_in="header",
    required=False,
    schema=Schema(type=OpenAPIType.STRING, min_length=1, max_length=255),
    description="A request that is sent again with the same key is answered again, and acts once.",
)


def openapi_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Orchestration gateway",
        version=version("orchestration-gateway"),
        path="/schema",
        openapi_router=Router("/schema", route_handlers=[], opt=requires(PUBLIC), include_in_schema=False),
        render_plugins=[JsonRenderPlugin()],
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        components=Components(
            security_schemes={_KEY: SecurityScheme(type="http", scheme="bearer", description="an API key, gw_…")}
        ),
    )


def describe_routes(app: Litestar) -> None:
    """Add to each operation what the framework cannot know: its problems, its permission, its idempotency key."""
    # The framework fills the schemas with those it has found, and forgets any it was given.
    app.openapi_schema.components.schemas = {**(app.openapi_schema.components.schemas or {}), "Problem": _PROBLEM}
    paths = app.openapi_schema.paths or {}
    for route in app.routes:
        item = paths.get(route.path_format)
        if item is None or not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            for method in handler.http_methods:
                operation = getattr(item, method.lower())
                if operation is not None:
                    _describe(operation, method, handler)


def _describe(operation: Operation, method: str, handler: HTTPRouteHandler) -> None:
    responses = dict(operation.responses or {})
    responses.pop("400", None)
    responses["default"] = OpenAPIResponse(
        description="A problem.",
        headers={"Retry-After": _RETRY_AFTER},
        content={MEDIA_TYPE: OpenAPIMediaType(schema=Reference(ref="#/components/schemas/Problem"))},
    )
    operation.responses = responses
    if handler.opt.get("paced"):
        for response in responses.values():
            if isinstance(response, OpenAPIResponse):
                response.headers = {**(response.headers or {}), **RATE_HEADERS}
    if isinstance(operation.request_body, RequestBody) and handler.parsed_data_field is not None:
        operation.request_body.required = not handler.parsed_data_field.is_optional
    permission = handler.opt.get("permission")
    if permission == PUBLIC:
        operation.security = []
        return
    operation.security = [{_KEY: []}]
    operation.description = f"{operation.description or ''}\n\nPermission: `{permission}`.".strip()
    if method == "POST":
        operation.parameters = [*(operation.parameters or []), _IDEMPOTENCY_KEY]


def _operation_id(handler: HTTPRouteHandler, method: Method, _path: list[str | PathParameterDefinition]) -> str:
    name = handler.handler_name
    return name if len(handler.http_methods) == 1 else f"{name}_{method.lower()}"
