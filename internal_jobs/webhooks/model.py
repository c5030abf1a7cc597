"""Outbound webhooks: who is told, of what, and how each telling went."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

_NAME = r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*"
EventType = Annotated[str, Meta(pattern=rf"^{_NAME}$(?!\n)", max_length=128, description="E.g. invoice.paid")]
#: a type, or all that begin like ``invoice.*``, or ``*``
EventPattern = Annotated[str, Meta(pattern=rf"^(\*|{_NAME}(\.\*)?)$(?!\n)", max_length=128)]
Url = Annotated[str, Meta(pattern=r"^https?://[^\s]+$(?!\n)", max_length=2048)]
OrderingKey = Annotated[str, Meta(min_length=1, max_length=200)]

#: Bytes of JSON that an event's data may take.
MAX_DATA = 1024 * 1024

#: held       behind an earlier one of the same ordering key
#: pending    its first attempt is to come
#: failing    an attempt failed; another follows
#: delivered  the receiver took it
#: failed     given up; kept, and delivered again when asked
#: canceled   its endpoint was disabled before it could be delivered
DeliveryStatus = Literal["held", "pending", "failing", "delivered", "failed", "canceled"]
OPEN: tuple[DeliveryStatus, ...] = ("held", "pending", "failing")


class EndpointRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    url: Url
    #: which events it is told of
    events: Annotated[tuple[EventPattern, ...], Meta(min_length=1, max_length=100)] = ("*",)
    description: Annotated[str, Meta(max_length=500)] = ""


class EndpointChange(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is absent stays as it is."""

    url: Url | None = None
    events: Annotated[tuple[EventPattern, ...], Meta(min_length=1, max_length=100)] | None = None
    description: Annotated[str, Meta(max_length=500)] | None = None
    enabled: bool | None = None


class Disabled(Struct, frozen=True, kw_only=True):
    #: fit to show: who disabled it, or what it did
    reason: str
    at: datetime


class Endpoint(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    url: str
    events: tuple[str, ...]
    description: str
    enabled: bool
    disabled: Disabled | None
    #: since when no attempt has succeeded, and how many have failed since
    failing_since: datetime | None
    failures: int
    last_delivered_at: datetime | None
    #: until then the secret before the present one signs, too
    previous_secret_until: datetime | None
    created_at: datetime


class EndpointSecret(Endpoint, frozen=True, kw_only=True, rename="camel"):
    """An endpoint, and its secret, which is shown this once."""

    secret: str


class EventRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    type: EventType
    data: Any = None
    #: what it is about, e.g. an id
    subject: Annotated[str, Meta(max_length=200)] | None = None
    #: deliveries to one endpoint with one key are made one after the other, in the order of their events
    ordering_key: OrderingKey | None = None


class Occurrence(Struct, frozen=True, kw_only=True):
    """Something that happened, to be told to whoever subscribed to it."""

    #: of the message: equal for one occurrence, however often it is told
    id: str
    type: str
    #: where it happened, a URI reference
    source: str
    time: datetime
    data: Any
    subject: str | None = None
    ordering_key: str | None = None


class AttemptError(Struct, frozen=True, kw_only=True):
    type: str
    message: str


class DeliveryAttempt(Struct, frozen=True, kw_only=True, rename="camel"):
    number: int
    at: datetime
    latency_ms: float
    #: of the answer, and how it began
    status: int | None
    response: str | None
    error: AttemptError | None


class Delivery(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    endpoint_id: str
    #: the receiver's ``webhook-id``, the same on every attempt
    message_id: str
    type: str
    status: DeliveryStatus
    attempts: int
    #: what the receiver last answered
    last_status: int | None
    next_attempt_at: datetime | None
    #: why it was closed undelivered
    reason: str | None
    job_id: str | None
    created_at: datetime
    closed_at: datetime | None


class DeliveryDetail(Struct, frozen=True, kw_only=True, rename="camel"):
    """A delivery with what was sent, a CloudEvent, and every attempt at it."""

    delivery: Delivery
    event: Any
    attempts: tuple[DeliveryAttempt, ...]


class EndpointPage(Struct, frozen=True, kw_only=True):
    items: tuple[Endpoint, ...]
    next_cursor: str | None = None


class DeliveryPage(Struct, frozen=True, kw_only=True):
    items: tuple[Delivery, ...]
    next_cursor: str | None = None
