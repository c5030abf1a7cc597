"""Payloads as Temporal's UI shows them: opened for whoever may read them, by the workers' own codec."""

import base64
import binascii
from collections.abc import Sequence

import msgspec
import zstandard
from google.protobuf.message import DecodeError
from msgspec import Struct
from temporalio.api.common.v1 import Payload

from plugins.storage.blobs import Blobs
from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault
from user_workflows.codec import SEALED, CodecError, TenantCodec
from user_workflows.errors import InvalidInput

#: bytes that one answer shows: a history's page holds less, and a person reads less
MOST_SHOWN = 8 * 2**20

_UNOPENED = (CodecError, VaultError, DecodeError, zstandard.ZstdError, msgspec.MsgspecError, ValueError, KeyError)


class ShownPayload(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A payload in protobuf's JSON: bytes are base64."""

    metadata: dict[str, str] = {}
    data: str = ""


class Payloads:
    """Opens payloads of one tenant at a time."""

    def __init__(self, vault: Vault, blobs: Blobs) -> None:
        self._vault = vault
        self._blobs = blobs

    async def open(self, tenant_id: str, payloads: Sequence[ShownPayload]) -> tuple[ShownPayload, ...]:
        """Return what was sealed; what is not sealed comes back as it is.

        Raises:
            InvalidInput: one is malformed, or is not for this tenant to open, whatever the reason; all together are too
                large to show.
        """
        codec = TenantCodec(self._vault, self._blobs, tenant_id)
        opened, size = [], 0
        for index, shown in enumerate(payloads):
            payload = await self._open(codec, shown, f"/payloads/{index}")
            size += len(payload.data)
            if size > MOST_SHOWN:
                raise InvalidInput(f"/payloads/{index}", f"is too large to show: at most {MOST_SHOWN:,} bytes are")
            opened.append(_shown(payload))
        return tuple(opened)

    async def _open(self, codec: TenantCodec, shown: ShownPayload, pointer: str) -> Payload:
        try:
            payload = _payload(shown)
        except (binascii.Error, ValueError):
            raise InvalidInput(pointer, "is not a payload: metadata and data are base64") from None
        if payload.metadata.get("encoding") not in SEALED:
            return payload
        try:
            (found,) = await codec.decode([payload])
        except _UNOPENED:
            # Foreign, damaged, shredded, or gone with its execution: which it is says something of another tenant.
            raise InvalidInput(pointer, "cannot be opened") from None
        return found


def _payload(shown: ShownPayload) -> Payload:
    metadata = {name: base64.b64decode(value, validate=True) for name, value in shown.metadata.items()}
    return Payload(metadata=metadata, data=base64.b64decode(shown.data, validate=True))


def _shown(payload: Payload) -> ShownPayload:
    metadata = {name: base64.b64encode(value).decode() for name, value in payload.metadata.items()}
    return ShownPayload(metadata=metadata, data=base64.b64encode(payload.data).decode())
