"""`http.request`: any HTTP API."""

import base64
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

from plugins import DURATION_PATTERN, Context, Effect, Response, Slot, parse_duration, plugin
from plugins.builtin.authentication import authentication
from plugins.builtin.content_type import charset, media_type
from plugins.builtin.status import status_error

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
Scalar = str | int | float | bool

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


class HttpRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    url: Annotated[str, Meta(pattern=r"^https?://", max_length=8192, description="Absolute, http or https.")]
    method: Annotated[
        Method,
        Meta(description="GET, HEAD and OPTIONS read; PUT and DELETE may be repeated; POST and PATCH act each time."),
    ] = "GET"
    headers: Annotated[dict[str, Scalar], Meta(description="Request headers by name.")] = {}
    query: Annotated[
        dict[str, Scalar | None], Meta(description="Added to the query of the URL; null leaves a parameter out.")
    ] = {}
    body: Annotated[
        Any,
        Meta(
            description="Text is sent as it stands; an object or a list as JSON, or as a form when the header"
            " Content-Type says application/x-www-form-urlencoded."
        ),
    ] = None
    timeout: (
        Annotated[
            str, Meta(pattern=DURATION_PATTERN, description="For the whole request, e.g. 30s; at most the step's own.")
        ]
        | None
    ) = None
    follow_redirects: Annotated[
        bool, Meta(description="At most three; other origins get no credential and none of your headers.")
    ] = True
    accept_status: Annotated[
        tuple[Annotated[int, Meta(ge=100, le=599)] | Annotated[str, Meta(pattern=r"^[1-5]xx$(?!\n)")], ...],
        Meta(min_length=1, description="Statuses that are a success, e.g. 404 or 2xx; any other is an error."),
    ] = ("2xx",)
    idempotent: Annotated[
        bool, Meta(description="The receiver honours Idempotency-Key: a POST or PATCH may be repeated.")
    ] = False


class HttpResponse(Struct, frozen=True, kw_only=True):
    status: Annotated[int, Meta(examples=[200])]
    #: names in lower case
    headers: dict[str, str]
    #: JSON where the content type says so; else text; base64 where it is neither
    body: Any


def effect_of(config: HttpRequest) -> Effect:
    match config.method:
        case "GET" | "HEAD" | "OPTIONS":
            return "read"
        case "PUT" | "DELETE":
            return "idempotent"
        case _:
            return "idempotent" if config.idempotent else "unsafe"


@plugin(
    "http.request",
    version="1.0.0",
    effect=effect_of,
    credentials=[Slot("auth", ("bearer", "basic", "apiKey"), optional=True)],
)
async def http_request(config: HttpRequest, ctx: Context) -> HttpResponse:
    """Send a request to an HTTP API and read its answer."""
    headers = {name.lower(): _text(value) for name, value in config.headers.items()}
    params = {name: _text(value) for name, value in config.query.items() if value is not None}
    content, content_type = encode_body(config.body, headers.get("content-type"))
    if content_type is not None:
        headers.setdefault("content-type", content_type)
    if config.method in ("POST", "PATCH"):
        headers.setdefault("idempotency-key", ctx.idempotency_key)
    auth_headers, auth_params = authentication(ctx, "auth")
    response = await ctx.http.request(
        config.method,
        config.url,
        headers=headers | auth_headers,
        params=params | auth_params,
        content=content,
        timeout=None if config.timeout is None else parse_duration(config.timeout),
        follow_redirects=config.follow_redirects,
    )
    if not accepts(config.accept_status, response.status):
        raise status_error(response)
    return HttpResponse(status=response.status, headers=response.headers, body=decode_body(response))


def accepts(accepted: Iterable[int | str], status: int) -> bool:
    """Tell whether `status` is one of `accepted`, such as ``404`` or ``"2xx"``."""
    return any(entry in (status, f"{status // 100}xx") for entry in accepted)


def encode_body(body: Any, content_type: str | None) -> tuple[bytes | None, str | None]:
    """Return the content to send and the content type that it has unless the user names another."""
    if body is None:
        return None, None
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    if isinstance(body, Mapping) and content_type is not None and media_type(content_type) == _FORM:
        fields = {
            name: [_text(each) for each in value] if isinstance(value, list) else _text(value)
            for name, value in body.items()
            if value is not None
        }
        return urlencode(fields, doseq=True).encode(), _FORM
    return msgspec.json.encode(body), _JSON


def decode_body(response: Response) -> Any:
    """Return the body as JSON, as text, or in base64, as `HttpResponse.body` says."""
    content_type = response.headers.get("content-type", "")
    found = media_type(content_type)
    if found == _JSON or found.endswith("+json"):
        try:
            return msgspec.json.decode(response.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    try:
        return response.content.decode(charset(content_type) or "utf-8")
    except (UnicodeDecodeError, LookupError):
        if found.startswith("text/"):
            return response.content.decode("utf-8", "replace")
        return base64.b64encode(response.content).decode()


def _text(value: Any) -> str:
    """Return a value as it stands in a header, a query or a form: strings bare, the rest as JSON has it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
