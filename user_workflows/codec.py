"""Payloads on Temporal: msgspec JSON → zstd → AES-GCM under the tenant's key, failures included (design §11).

The tenant is read from the workflow id (``tenant/…``), which every payload's serialization context names.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import temporalio.converter
import zstandard
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

from plugins.vault.keys import Vault

_ENCODING = b"binary/gateway-v1"
_PLACE = "temporal"
#: what the server itself says in plain, e.g. why it canceled an activity: "ACTIVITY_ID_NOT_STARTED"
_SERVERS_WORD = re.compile(rb'"[A-Z_]{1,64}"')
#: more than any payload that Temporal accepts can hold, so that a small one cannot unpack into all memory
_MAX_PLAIN_BYTES = 64 * 1024 * 1024

_compressor = zstandard.ZstdCompressor(level=1)
_decompressor = zstandard.ZstdDecompressor()


class CodecError(Exception):
    """A payload cannot be sealed or opened."""


class JsonPayloadConverter(EncodingPayloadConverter):
    """msgspec JSON, both ways."""

    @property
    def encoding(self) -> str:
        return "json/plain"

    def to_payload(self, value: Any) -> Payload:
        return Payload(metadata={"encoding": b"json/plain"}, data=msgspec.json.encode(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return msgspec.json.decode(payload.data, type=Any if type_hint is None else type_hint)


class PayloadConverter(CompositePayloadConverter):
    def __init__(self) -> None:
        # Protobuf is what the SDK itself answers Temporal's UI with, about a workflow.
        super().__init__(BinaryNullPayloadConverter(), JSONProtoPayloadConverter(), JsonPayloadConverter())


class TenantCodec(PayloadCodec, WithSerializationContext):
    """Seals every payload with the key of the tenant whose workflow it belongs to."""

    def __init__(self, vault: Vault, tenant_id: str | None = None) -> None:
        self._vault = vault
        self._tenant_id = tenant_id

    def with_context(self, context: SerializationContext) -> "TenantCodec":
        match context:
            case WorkflowSerializationContext() | ActivitySerializationContext() if context.workflow_id:
                return TenantCodec(self._vault, context.workflow_id.split("/", 1)[0])
            case _:
                return self

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self._tenant_id is None:
            raise CodecError("a payload that belongs to no tenant's workflow cannot be sealed")
        sealer = await self._vault.sealer(self._tenant_id)
        tenant = self._tenant_id.encode()
        return [
            Payload(
                metadata={"encoding": _ENCODING, "tenant": tenant},
                data=sealer.seal(_compressor.compress(payload.SerializeToString()), _PLACE),
            )
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [await self._decode(payload) for payload in payloads]

    async def _decode(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != _ENCODING:
            if _SERVERS_WORD.fullmatch(payload.data):
                return payload
            raise CodecError("a payload on Temporal is not sealed")
        tenant_id = payload.metadata["tenant"].decode()
        if self._tenant_id not in (None, tenant_id):
            raise CodecError("a payload is sealed for another tenant than its workflow's")
        sealer = await self._vault.sealer(tenant_id)
        return Payload.FromString(
            _decompressor.decompress(sealer.open(payload.data, _PLACE), max_output_size=_MAX_PLAIN_BYTES)
        )


def plain_data_converter() -> DataConverter:
    """Return the converter without its codec: what a history holds when it is opened."""
    return replace(
        temporalio.converter.default(),
        payload_converter_class=PayloadConverter,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def data_converter(vault: Vault) -> DataConverter:
    """Return the data converter of every client and worker."""
    return replace(plain_data_converter(), payload_codec=TenantCodec(vault))
