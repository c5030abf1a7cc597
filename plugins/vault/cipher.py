"""Sealing: AES-256-GCM with one tenant's keys, each sealed value bound to its tenant and its place."""

import hashlib
import os
import struct
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from plugins.vault.errors import KeysDestroyed, Unreadable

#: bytes in a data key and in a master key
KEY_SIZE = 32

#: format byte, version of the data key; then the nonce, then ciphertext and tag
_HEADER = struct.Struct(">BI")
_FORMAT = 1
_NONCE_SIZE = 12
_SMALLEST = _HEADER.size + _NONCE_SIZE + 16

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _Zstd(threading.local):
    """Compressors are costly to make and not safe to share between threads: one of each per thread."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor().compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstd = _Zstd()


class _Ring(NamedTuple):
    ciphers: Mapping[int, AESGCM]
    sealing: int
    naming: bytes


class Sealer:
    """One tenant's data keys, in memory. Sync and fast: safe on the event loop, in threads and in codecs.

    What is sealed names the version of its key, so that it stays readable after a rotation. With random nonces one
    key may seal 2**32 values (NIST SP 800-38D §8.3); rotate before that. The vault turns the ring of a sealer that is
    held by somebody, so that he learns of new keys, and of destroyed ones, too.

    Args:
        tenant_id: bound into everything sealed.
        keys: data keys by version, each `KEY_SIZE` bytes.
        sealing: the version that seals; the others only open.
    """

    def __init__(self, tenant_id: str, keys: Mapping[int, bytes], sealing: int) -> None:
        self.tenant_id = tenant_id
        self._tenant = tenant_id.encode()
        self._ring: _Ring | None = None
        self.turn(keys, sealing)

    def turn(self, keys: Mapping[int, bytes], sealing: int) -> None:
        """Go over to these keys."""
        # A key of its own, so that what is named says nothing about what is sealed.
        naming = hashlib.blake2b(key=keys[sealing], person=b"gateway.naming").digest()
        self._ring = _Ring({version: AESGCM(key) for version, key in keys.items()}, sealing, naming)

    def drop(self) -> None:
        """Forget every key: the tenant was shredded."""
        self._ring = None

    @property
    def sealing(self) -> int:
        """The version that seals.

        Raises:
            KeysDestroyed: the tenant was shredded.
        """
        return self._turned().sealing

    def _turned(self) -> _Ring:
        if self._ring is None:
            raise KeysDestroyed(f"the keys of tenant {self.tenant_id!r} were destroyed")
        return self._ring

    def seal(self, data: bytes, place: str) -> bytes:
        """Return `data` sealed for `place`, a name such as ``execution.input:ex_01…`` that opening must repeat."""
        ring = self._turned()
        header = _HEADER.pack(_FORMAT, ring.sealing)
        nonce = os.urandom(_NONCE_SIZE)
        sealed = ring.ciphers[ring.sealing].encrypt(nonce, data, self._binding(header, place))
        return header + nonce + sealed

    def open(self, sealed: bytes, place: str) -> bytes:
        """Return what was sealed for `place`.

        Raises:
            Unreadable: wrong tenant, wrong place, changed bytes, or a key that is gone.
            KeysDestroyed: the tenant was shredded.
        """
        if len(sealed) < _SMALLEST:
            raise Unreadable(f"{_kind(place)} is too short to be sealed data")
        format, version = _HEADER.unpack_from(sealed)
        if format != _FORMAT:
            raise Unreadable(f"{_kind(place)} is in sealing format {format}, which this release does not know")
        cipher = self._turned().ciphers.get(version)
        if cipher is None:
            raise Unreadable(f"{_kind(place)} is sealed with key version {version}, which is not there")
        header, nonce, body = sealed[: _HEADER.size], sealed[_HEADER.size : _SMALLEST - 16], sealed[_SMALLEST - 16 :]
        try:
            return cipher.decrypt(nonce, body, self._binding(header, place))
        except InvalidTag:
            raise Unreadable(f"{_kind(place)} does not open: it was changed, or belongs elsewhere") from None

    def name(self, data: bytes, place: str) -> str:
        """Return a name for `data` in `place`, 40 hex digits: the same for the same data while the key is the same.

        It is keyed: who sees names learns nothing of the data, nor whether two tenants hold the same.
        """
        # The length in front keeps place and data apart.
        digest = hashlib.blake2b(len(place).to_bytes(4), key=self._turned().naming, digest_size=20)
        digest.update(place.encode())
        digest.update(data)
        return digest.hexdigest()

    def seal_json(self, value: Any, place: str) -> bytes:
        """Seal anything that msgspec can encode: JSON, zstd, seal."""
        return self.seal(_zstd.compress(_encode(value)), place)

    def open_json(self, sealed: bytes, place: str) -> Any:
        """Return the JSON value sealed for `place`.

        Raises:
            Unreadable: as `open`.
        """
        return _decode(_zstd.decompress(self.open(sealed, place)))

    def _binding(self, header: bytes, place: str) -> bytes:
        # The length in front keeps tenant and place apart: no other pair gives the same bytes.
        return b"".join((header, len(self._tenant).to_bytes(2), self._tenant, place.encode()))


def version_bytes(version: int) -> bytes:
    """Return how sealed data name the version of their key: 4 bytes, after the first."""
    return version.to_bytes(4)


def _kind(place: str) -> str:
    """Name a place for a message: the column, without the object's id."""
    return place.partition(":")[0]
