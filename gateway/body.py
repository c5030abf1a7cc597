"""JSON bodies: what is asked of them, and every fault of one at once."""

import re
import types
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import msgspec
from litestar.dto import AbstractDTO
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from gateway.errors import BadRequest, BodyFault, InvalidBody, UnsupportedMediaType

T = TypeVar("T")

_AT = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


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
    """Decode a JSON body into the type `expected`.

    Raises:
        BadRequest: it is not JSON; says where it stops being JSON.
        InvalidBody: with every fault of its fields.
    """
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None
    try:
        return msgspec.convert(raw, expected)
    except msgspec.ValidationError as error:
        faults = find_faults(raw, expected) or [_fault(error, "")]
        raise InvalidBody("The body does not have the form that this request needs.", errors=faults) from None


def find_faults(raw: Any, expected: Any, pointer: str = "") -> list[BodyFault]:
    """Return everything that keeps `raw` from being an `expected`, where one error would hide the others."""
    struct = _struct_in(expected)
    if struct is not None and isinstance(raw, dict):
        return _struct_faults(raw, struct, pointer)
    item = _item_in(expected)
    if item is not None and isinstance(raw, list):
        faults = [fault for index, value in enumerate(raw) for fault in find_faults(value, item, f"{pointer}/{index}")]
        if faults:
            return faults
    try:
        msgspec.convert(raw, expected)
    except msgspec.ValidationError as error:
        return [_fault(error, pointer)]
    return []


def _struct_faults(raw: dict[str, Any], struct: type[Struct], pointer: str) -> list[BodyFault]:
    known = {field.encode_name: field for field in fields(struct)}
    faults: list[BodyFault] = []
    for name, field in known.items():
        if name in raw:
            faults += find_faults(raw[name], field.type, f"{pointer}/{_escape(name)}")
        elif _is_required(field):
            faults.append(BodyFault(f"{pointer}/{_escape(name)}", "is required"))
    if struct.__struct_config__.forbid_unknown_fields:
        listed = ", ".join(known) or "none"
        faults += [
            BodyFault(f"{pointer}/{_escape(name)}", f"is not a known field; known are: {listed}")
            for name in raw
            if name not in known
        ]
    return faults


def _is_required(field: FieldInfo) -> bool:
    return field.default is NODEFAULT and field.default_factory is NODEFAULT


def _struct_in(expected: Any) -> type[Struct] | None:
    """The one Struct that `expected` is, or may be."""
    candidates = [expected, *(get_args(expected) if get_origin(expected) in (Union, types.UnionType) else ())]
    structs = [each for each in candidates if isinstance(each, type) and issubclass(each, Struct)]
    return structs[0] if len(structs) == 1 else None


def _item_in(expected: Any) -> Any:
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is list or (origin is tuple and arguments[-1:] == (...,)):
        return arguments[0]
    # Annotated[list[X], Meta(...)]
    return _item_in(arguments[0]) if hasattr(expected, "__metadata__") else None


def _fault(error: msgspec.ValidationError, pointer: str) -> BodyFault:
    message = str(error)
    if match := _AT.search(message):
        message = message[: match.start()]
        steps = (name or index for name, index in _STEP.findall(match.group(1)))
        pointer += "".join(f"/{_escape(step)}" for step in steps)
    return BodyFault(pointer, message)


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
