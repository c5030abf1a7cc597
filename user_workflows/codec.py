"""Payloads on Temporal: msgspec JSON → zstd → AES-GCM under the tenant's key, failures included (design §11).

The tenant is read from the workflow id (``tenant/execution``), which every payload's serialization context names. A
payload that is large even when it is packed is stored as a blob of that execution, and only a sealed claim to it
travels: Temporal takes 2 MB a payload, 4 MB a message, and keeps every byte in the history.
"""

import re
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

import msgspec
import zstandard
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    BinaryNullPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    EncodingPayloadConverter,
    JSONProtoPayloadConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError

from plugins.storage.blobs import Blobs
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault
from user_workflows.interpreter.errors import PAYLOAD_TOO_LARGE

_ENCODING = b"binary/gateway-v1"
_CLAIM = b"binary/gateway-claim-v1"
#: what this codec opens
SEALED = frozenset({_ENCODING, _CLAIM})
_PLACE = "temporal"
_CLAIM_PLACE = "temporal.claim"
#: what the server itself says in plain, e.g. why it canceled an activity: "ACTIVITY_ID_NOT_STARTED"
_SERVERS_WORD = re.compile(rb'"[A-Z_]{1,64}"')
#: the most bytes of JSON that travel as one payload
MAX_PAYLOAD = 256 * 2**20
#: the most bytes that a payload may unpack to, its envelope included, so that a small one cannot fill all memory
_MAX_PLAIN = MAX_PAYLOAD + 1024
#: packed bytes above which a payload is stored, and a claim to it travels: a hundred that are just below fit into one
#: message of 4 MB
CLAIM_BYTES = 32 * 1024

#: workflows whose converters are kept
_REMEMBERED = 4_096

_compressor = zstandard.ZstdCompressor(level=1)
_decompressor = zstandard.ZstdDecompressor()


class CodecError(Exception):
    """A payload cannot be sealed or opened."""


class BlobGone(CodecError):
    """A large payload was deleted with the execution that it belonged to."""


class JsonPayloadConverter(EncodingPayloadConverter):
    """msgspec JSON, both ways; what is too large to travel is refused where it is handed over."""

    @property
    def encoding(self) -> str:
        return "json/plain"

    def to_payload(self, value: Any) -> Payload:
        data = msgspec.json.encode(value)
        if len(data) > MAX_PAYLOAD:
            # Here, and not in the codec: what fails there fails a task of Temporal's, which is repeated for ever.
            message = f"{len(data):,} bytes of JSON are too large to be handed on; at most {MAX_PAYLOAD:,} are"
            raise ApplicationError(message, type=PAYLOAD_TOO_LARGE, non_retryable=True)
        return Payload(metadata={"encoding": b"json/plain"}, data=data)

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return msgspec.json.decode(payload.data, type=Any if type_hint is None else type_hint)


class PayloadConverter(CompositePayloadConverter):
    def __init__(self) -> None:
        # Protobuf is what the SDK itself answers Temporal's UI with, about a workflow.
        super().__init__(BinaryNullPayloadConverter(), JSONProtoPayloadConverter(), JsonPayloadConverter())


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What travels instead of a large payload."""

    #: of the blob
    id: str
    #: of the execution that the blob lives and dies with
    owner: str


class TenantCodec(PayloadCodec, WithSerializationContext):
    """Seals every payload with the key of the tenant whose workflow it belongs to.

    Args:
        vault: holds the keys.
        blobs: takes what is too large to travel.
        tenant_id: of the payloads' workflow.
        owner: the execution that large payloads are stored with; ``None``: they travel whole.
        is_local: they are of a local activity.
    """

    def __init__(
        self,
        vault: Vault,
        blobs: Blobs,
        tenant_id: str | None = None,
        owner: str | None = None,
        *,
        is_local: bool = False,
    ) -> None:
        self._vault = vault
        self._blobs = blobs
        self._tenant_id = tenant_id
        self._owner = owner
        self._is_local = is_local

    def with_context(self, context: SerializationContext) -> "TenantCodec":
        belonging = _belonging(context)
        return self if belonging is None else self.of(belonging)

    def of(self, belonging: "_Belonging") -> "TenantCodec":
        """Return the codec of what belongs to a workflow."""
        tenant_id, _, rest = belonging.workflow_id.partition("/")
        # Only an execution has a record to live as long as; what fires one is small.
        owner = rest if rest and "/" not in rest else None
        return TenantCodec(self._vault, self._blobs, tenant_id, owner, is_local=belonging.is_local)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self._tenant_id is None:
            raise CodecError("a payload that belongs to no tenant's workflow cannot be sealed")
        sealer = await self._vault.sealer(self._tenant_id)
        return [await self._encode(payload, sealer) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [await self._decode(payload) for payload in payloads]

    async def _encode(self, payload: Payload, sealer: Sealer) -> Payload:
        plain = payload.SerializeToString()
        if len(plain) > _MAX_PLAIN:
            raise CodecError(f"a payload of {len(plain):,} bytes is too large; at most {_MAX_PLAIN:,} travel")
        packed = _compressor.compress(plain)
        if self._owner is None or len(packed) <= CLAIM_BYTES or self._stays_here():
            return _sealed(_ENCODING, sealer, packed, _PLACE)
        # One blob for all that is the same, however often a task is repeated or a value is handed on.
        claim = Claim(id=sealer.name(packed, self._owner), owner=self._owner)
        await self._blobs.put(sealer.tenant_id, claim.owner, claim.id, sealer.seal(packed, _blob_place(claim)))
        return _sealed(_CLAIM, sealer, msgspec.json.encode(claim), _CLAIM_PLACE)

    def _stays_here(self) -> bool:
        """Return whether what is encoded is the input of a local activity, which leaves neither process nor memory."""
        # Its result is encoded inside the activity, and goes into the history.
        return self._is_local and not activity.in_activity()

    async def _decode(self, payload: Payload) -> Payload:
        encoding = payload.metadata.get("encoding")
        if encoding not in SEALED:
            if _SERVERS_WORD.fullmatch(payload.data):
                return payload
            raise CodecError("a payload on Temporal is not sealed")
        tenant_id = payload.metadata["tenant"].decode()
        if self._tenant_id not in (None, tenant_id):
            raise CodecError("a payload is sealed for another tenant than its workflow's")
        sealer = await self._vault.sealer(tenant_id)
        if encoding == _ENCODING:
            packed = sealer.open(payload.data, _PLACE)
        else:
            packed = await self._redeem(sealer, payload.data)
        return Payload.FromString(_decompressor.decompress(packed, max_output_size=_MAX_PLAIN))

    async def _redeem(self, sealer: Sealer, sealed: bytes) -> bytes:
        claim = msgspec.json.decode(sealer.open(sealed, _CLAIM_PLACE), type=Claim)
        content = await self._blobs.get(sealer.tenant_id, claim.id)
        if content is None:
            raise BlobGone(f"a large payload is gone: it was deleted with the record of execution {claim.owner}")
        return sealer.open(content, _blob_place(claim))


def _sealed(encoding: bytes, sealer: Sealer, data: bytes, place: str) -> Payload:
    metadata = {"encoding": encoding, "tenant": sealer.tenant_id.encode()}
    return Payload(metadata=metadata, data=sealer.seal(data, place))


def _blob_place(claim: Claim) -> str:
    return f"blob:{claim.owner}:{claim.id}"


class _Belonging(NamedTuple):
    """What a payload belongs to."""

    workflow_id: str
    is_local: bool


def _belonging(context: SerializationContext) -> _Belonging | None:
    match context:
        case WorkflowSerializationContext() if context.workflow_id:
            return _Belonging(context.workflow_id, False)
        case ActivitySerializationContext() if context.workflow_id:
            return _Belonging(context.workflow_id, context.is_local)
        case _:
            return None


class TenantDataConverter(DataConverter):
    """Gives its codec the context of each payload, and spares the parts that know none.

    The SDK asks several times for every payload: what was made for a workflow is remembered.
    """

    def with_context(self, context: SerializationContext) -> Self:
        belonging = _belonging(context)
        return self if belonging is None else self._of(belonging)

    @cached_property
    def _of(self) -> "Callable[[_Belonging], Self]":
        return lru_cache(maxsize=_REMEMBERED)(self._make)

    def _make(self, belonging: "_Belonging") -> Self:
        made = copy(self)
        if isinstance(self.payload_codec, TenantCodec):
            object.__setattr__(made, "payload_codec", self.payload_codec.of(belonging))
        return made


def plain_data_converter() -> DataConverter:
    """Return the converter without its codec: what a history holds when it is opened."""
    return TenantDataConverter(
        payload_converter_class=PayloadConverter,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def data_converter(vault: Vault, blobs: Blobs) -> DataConverter:
    """Return the data converter of every client and worker."""
    return replace(plain_data_converter(), payload_codec=TenantCodec(vault, blobs))
