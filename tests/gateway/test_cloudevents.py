"""CloudEvents 1.0, in the three forms that HTTP gives them."""

import base64
from typing import Any

import msgspec
import pytest

from gateway.cloudevents import MAX_EVENTS, read_events
from gateway.errors import BadRequest, InvalidBody, UnsupportedMediaType

#: the example of the specification
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext/subcontext",
    "id": "C234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
    "datacontenttype": "application/json",
    "data": {"appinfoA": "abc", "appinfoC": True},
}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
BINARY = {
    "ce-specversion": "1.0",
    "ce-type": "com.example.someevent",
    "ce-source": "/mycontext",
    "ce-id": "1",
    "ce-subject": "Euro%20%E2%82%AC",
}


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def test_a_structured_event_is_taken_as_it_is() -> None:
    assert read_events(STRUCTURED, encode(EVENT)) == [EVENT]
    assert read_events(STRUCTURED, encode(EVENT | {"subject": None, "data": None})) == [EVENT | {"data": None}]


def test_a_batch_holds_any_number_of_events() -> None:
    assert read_events(BATCH, encode([EVENT, EVENT | {"id": "2"}])) == [EVENT, EVENT | {"id": "2"}]
    assert read_events(BATCH, b"[]") == []
    for body in (EVENT, [EVENT] * (MAX_EVENTS + 1)):
        with pytest.raises(InvalidBody):
            read_events(BATCH, encode(body))


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("application/json", b'{"a": 1}', {"data": {"a": 1}}),
        ("application/vnd.x+json", b"[1]", {"data": [1]}),
        ("text/plain", "grün".encode(), {"data": "grün"}),
        ("image/png", b"\x89PNG\xff", {"data_base64": base64.b64encode(b"\x89PNG\xff").decode()}),
        (None, b"", {}),
    ],
)
def test_a_binary_event_has_its_attributes_in_headers(content_type: str | None, body: bytes, data: Any) -> None:
    headers = BINARY | ({"content-type": content_type} if content_type else {})
    (event,) = read_events(headers, body)
    expected = {name.removeprefix("ce-"): value for name, value in BINARY.items()} | {"subject": "Euro €"} | data
    assert event == expected | ({"datacontenttype": content_type} if content_type else {})


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"id": ""}, "/id"),
        ({"source": None}, "/source"),
        ({"source": "not a uri"}, "/source"),
        ({"type": 5}, "/type"),
        ({"time": "yesterday"}, "/time"),
        ({"time": "2018-13-05T17:31:00Z"}, "/time"),
        ({"dataschema": "relative"}, "/dataschema"),
        ({"subject": ""}, "/subject"),
        ({"myExtension": "x"}, "/myExtension"),
        ({"extension": {"a": 1}}, "/extension"),
        ({"extension": 2**40}, "/extension"),
        ({"extension": 1.5}, "/extension"),
        ({"extension": "a\u0000"}, "/extension"),
        ({"data_base64": "AAAA"}, "/data_base64"),
    ],
)
def test_what_the_specification_does_not_allow_is_named(change: Any, pointer: str) -> None:
    with pytest.raises(InvalidBody) as refused:
        read_events(STRUCTURED, encode(EVENT | change))
    assert pointer in {fault.pointer for fault in refused.value.errors}
    with pytest.raises(InvalidBody) as refused:
        read_events(BATCH, encode([EVENT, EVENT | change]))
    assert {fault.pointer for fault in refused.value.errors} == {f"/1{pointer}"}


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        read_events({"content-type": "application/json"}, encode(EVENT))
    with pytest.raises(BadRequest):
        read_events(STRUCTURED, b"{broken")
    with pytest.raises(BadRequest):
        read_events(BINARY | {"content-type": "application/json"}, b"{broken")
    for body in (b"[]", b"null", b'"x"'):
        with pytest.raises(InvalidBody):
            read_events(STRUCTURED, body)
