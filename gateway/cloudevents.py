"""CloudEvents 1.0 over HTTP: binary, structured and batched, into objects of the JSON event format.

After https://github.com/cloudevents/spec, `cloudevents/spec.md`, `formats/json-format.md` and
`bindings/http-protocol-binding.md`.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import msgspec

from gateway.errors import BadRequest, BodyFault, InvalidBody, UnsupportedMediaType

#: the most events of one batch
MAX_EVENTS = 1_000

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_REQUIRED = ("id", "source", "type")
_NAME = re.compile(r"[a-z0-9]+")
#: RFC 3986: what a URI-reference is made of
_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:.+")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
#: bodies of events, which are no attributes
_DATA = ("data", "data_base64")


def read_events(headers: Mapping[str, str], body: bytes) -> list[dict[str, Any]]:
    """Return the events of a request, each as an object of the JSON format.

    Args:
        headers: by lower-case names.
        body: as it came.

    Raises:
        UnsupportedMediaType: it carries no CloudEvent in a form that is understood.
        BadRequest: a body that should be JSON is not.
        InvalidBody: with every fault of every event.
    """
    content_type = headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == STRUCTURED:
        events, where = [_decode(body)], [""]
    elif media_type == BATCH:
        batch = _decode(body)
        if not isinstance(batch, list) or len(batch) > MAX_EVENTS:
            fault = BodyFault("", f"must be an array of at most {MAX_EVENTS} events")
            raise InvalidBody("The body is not a batch of CloudEvents.", errors=[fault])
        events, where = batch, [f"/{index}" for index in range(len(batch))]
    elif "ce-specversion" in headers:
        events, where = [_from_headers(headers, content_type, media_type, body)], [""]
    else:
        raise UnsupportedMediaType(
            f"Send CloudEvents as {STRUCTURED}, as {BATCH}, or in binary mode, with ce-specversion and the other "
            "attributes as headers."
        )
    faults = [
        BodyFault(place + pointer, detail)
        for place, event in zip(where, events, strict=True)
        for pointer, detail in _faults(event)
    ]
    if faults:
        raise InvalidBody("These are not CloudEvents as version 1.0 of the specification has them.", errors=faults)
    # In the JSON format an attribute that is null is one that is not there.
    return [{name: value for name, value in event.items() if value is not None or name == "data"} for event in events]


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None


def _from_headers(headers: Mapping[str, str], content_type: str, media_type: str, body: bytes) -> dict[str, Any]:
    """Make an object of the JSON format of a request in binary mode."""
    event: dict[str, Any] = {
        # Values are percent-encoded UTF-8, and may be quoted (HTTP binding, 3.1.3.2).
        name.removeprefix("ce-"): unquote(value.strip().strip('"'))
        for name, value in headers.items()
        if name.startswith("ce-")
    }
    if content_type:
        event["datacontenttype"] = content_type
    if not body:
        return event
    if media_type == "application/json" or media_type.endswith("+json"):
        return event | {"data": _decode(body)}
    try:
        return event | {"data": body.decode()}
    except UnicodeDecodeError:
        return event | {"data_base64": base64.b64encode(body).decode()}


def _faults(event: Any) -> Iterator[tuple[str, str]]:
    """Yield what the specification does not allow in one event: pointer, detail."""
    if not isinstance(event, dict):
        yield "", "must be an object"
        return
    if event.get("specversion") != "1.0":
        yield "/specversion", 'must be "1.0"'
    for name in _REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            yield f"/{name}", "is required: a string that is not empty"
    for name, value in event.items():
        if name not in _DATA and value is not None:
            yield from _attribute_faults(name, value)
    yield from _data_faults(event)


def _attribute_faults(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(name):
        yield f"/{name.replace('~', '~0').replace('/', '~1')}", "names of attributes are of a-z and 0-9 alone"
    elif not isinstance(value, str | bool | int) or (
        not isinstance(value, bool) and isinstance(value, int) and not -(2**31) <= value < 2**31
    ):
        yield f"/{name}", "must be a string, a boolean, or an integer of 32 bits"
    elif name in ("datacontenttype", "subject", "time", "dataschema") and (not isinstance(value, str) or not value):
        yield f"/{name}", "must be a string that is not empty"
    elif isinstance(value, str) and any(ord(character) < 32 or ord(character) == 127 for character in value):
        yield f"/{name}", "must not hold control characters"
    elif name == "source" and isinstance(value, str) and value and not _URI.fullmatch(value):
        yield "/source", "must be a URI-reference (RFC 3986)"
    elif name == "dataschema" and not (_URI.fullmatch(str(value)) and _ABSOLUTE.fullmatch(str(value))):
        yield "/dataschema", "must be an absolute URI (RFC 3986)"
    elif name == "time" and not _is_time(str(value)):
        yield "/time", "must be a timestamp (RFC 3339), like 2030-01-31T09:00:00Z"


def _data_faults(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    encoded = event.get("data_base64")
    if encoded is None:
        return
    if "data" in event:
        yield "/data_base64", "must not come together with data"
    try:
        base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError, binascii.Error):
        yield "/data_base64", "must be a string in base64"


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(re.sub(r"\.(\d{1,6})\d*", r".\1", text.upper()))
    except ValueError:
        return False
    return True
