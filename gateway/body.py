"""JSON bodies: what is asked of them, and every fault of one at once."""

from functools import lru_cache
from typing import Any, Generic, TypeVar, get_args

import msgspec
from litestar.dto import AbstractDTO
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition
from msgspec import Struct

from gateway.errors import BadRequest, BodyFault, InvalidBody, UnsupportedMediaType
from plugins.sdk.conform import Nonconforming, conform

T = TypeVar("T")

#: the largest body of a request, in bytes
MAX_BODY = 2 * 2**20


class NoFields(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an action: none, or ``{}``."""


class JsonBody(AbstractDTO[T], Generic[T]):
    """Decodes the ``data`` of a handler from JSON; refuses other media types, malformed JSON and wrong fields."""

    def decode_bytes(self, value: bytes) -> Any:
        media_type = self.asgi_connection.headers.get("content-type", "application/json").partition(";")[0].strip()
        if media_type.lower() != "application/json" and not media_type.lower().endswith("+json"):
            raise UnsupportedMediaType(f"Send the body as application/json, not as {media_type[:100]}.")
        field = self.asgi_connection.route_handler.parsed_data_field
        return decode(value, field.annotation)

    @classmethod
    def create_for_field_definition(cls, *_args: Any, **_kwargs: Any) -> None:
        """There is nothing to prepare: msgspec knows the types."""

    @classmethod
    def is_supported_model_type_field(cls, field_definition: FieldDefinition) -> bool:
        return False

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema


def decode(body: bytes, expected: Any) -> Any:
    """Decode a JSON body into `expected`, a Struct or an optional one.

    Raises:
        BadRequest: it is not JSON; says where it stops being JSON.
        InvalidBody: with every fault of its fields.
    """
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None
    struct, is_optional = _form_of(expected)
    if struct is None or (raw is None and is_optional):
        return raw
    try:
        return conform(struct, raw)
    except Nonconforming as error:
        faults = [BodyFault(flaw.pointer, flaw.detail) for flaw in error.flaws]
        raise InvalidBody("The body does not have the form that this request needs.", errors=faults) from None


@lru_cache(maxsize=1_024)
def _form_of(expected: Any) -> tuple[type[Struct] | None, bool]:
    """Return the Struct that an annotation names, and whether ``null`` will do in its place."""
    struct = next((each for each in (expected, *get_args(expected)) if _is_struct(each)), None)
    return struct, type(None) in get_args(expected)


def _is_struct(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Struct)
