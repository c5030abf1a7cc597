"""The master key: a small file that wraps every tenant's data keys, and nothing else."""

import base64
import binascii
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from plugins.vault.cipher import KEY_SIZE
from plugins.vault.errors import MasterKeyError, Unreadable

_NONCE_SIZE = 12


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal[1] = 1
    #: the version that wraps; the others only unwrap
    current: int
    #: version → base64 of the key
    keys: dict[int, str]


class Wrapped(NamedTuple):
    """An encrypted key, and the version of the master key that opens it."""

    key: bytes
    master_version: int


class MasterKey:
    """The installation's master key, in all its versions.

    One that was loaded follows its file: a process learns of a version that was added, when it meets what that version
    wrapped, and of the version that wraps, before it wraps.

    Args:
        keys: master keys by version, each 32 bytes.
        current: the version that wraps new data keys.
    """

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        self._path: Path | None = None
        #: of the file as it was read
        self._stamp: tuple[int, int] | None = None
        self._take(keys, current)

    def _take(self, keys: Mapping[int, bytes], current: int) -> None:
        if current not in keys:
            raise MasterKeyError(f"the master key has no version {current}, which it names as current")
        if any(len(key) != KEY_SIZE for key in keys.values()):
            raise MasterKeyError(f"every version of the master key must have {KEY_SIZE} bytes")
        self.current = current
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"MasterKey(versions={sorted(self._keys)}, current={self.current})"

    @property
    def versions(self) -> tuple[int, ...]:
        return tuple(sorted(self._keys))

    @classmethod
    def load(cls, path: str | Path) -> "MasterKey":
        """Read a master key file.

        Raises:
            MasterKeyError: it is absent, readable by others, or not a master key file.
        """
        content, stamp = _read(Path(path))
        master = cls(*_parse(content, path))
        master._path, master._stamp = Path(path), stamp
        return master

    @classmethod
    def create(cls, path: str | Path) -> "MasterKey":
        """Make a new master key and its file, with mode 0600.

        Raises:
            MasterKeyError: the file exists (it is never overwritten), or cannot be written.
        """
        path = Path(path)
        master = cls({1: os.urandom(KEY_SIZE)}, 1)
        try:
            # Written aside, then linked into place: whoever sees the file sees it whole, and one of two makers loses.
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:
                file.write(master._encode())
                file.flush()
                os.fsync(file.fileno())
                os.link(file.name, path)
            _sync_folder(path.parent)
        except FileExistsError:
            raise MasterKeyError(f"the master key file {path} exists; it is never overwritten") from None
        except OSError as error:
            raise MasterKeyError(f"cannot write the master key file {path}: {error.strerror}") from None
        return cls.load(path)

    @classmethod
    def load_or_create(cls, path: str | Path) -> "MasterKey":
        """Read the master key file, or make it; of several processes that try at once, one makes it for all.

        Raises:
            MasterKeyError: as `load` and `create`.
        """
        path = Path(path)
        if not path.exists():
            try:
                return cls.create(path)
            except MasterKeyError:
                if not path.exists():
                    raise
        return cls.load(path)

    def add_version(self) -> int:
        """Add a version to the file, and return it; it wraps nothing before `make_current`.

        Raises:
            MasterKeyError: as `load`, or the file cannot be written.
        """
        with self._changing():
            version = max(self._keys) + 1
            self._write({**self._keys, version: os.urandom(KEY_SIZE)}, self.current)
        return version

    def make_current(self, version: int) -> None:
        """Wrap with this version from now on.

        Raises:
            MasterKeyError: as `add_version`.
        """
        with self._changing():
            self._write(self._keys, version)

    def remove(self, version: int) -> None:
        """Take a version out of the file; what it wrapped, in backups too, can be read by a copy of it alone.

        Raises:
            MasterKeyError: it is not there, is the current one, or as `add_version`.
        """
        with self._changing():
            if version not in self._keys:
                raise MasterKeyError(f"the master key has no version {version}")
            if version == self.current:
                raise MasterKeyError(f"version {version} of the master key is the one that wraps")
            self._write({each: key for each, key in self._keys.items() if each != version}, self.current)

    def follow(self) -> None:
        """Read the file again, if it is another than it was.

        Raises:
            MasterKeyError: as `load`.
        """
        if self._path is None:
            return
        try:
            status = self._path.stat()
        except OSError:
            # What is in memory works on; whoever starts anew hears of it.
            return
        if self._stamp != (status.st_mtime_ns, status.st_ino):
            content, self._stamp = _read(self._path)
            self._take(*_parse(content, self._path))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold off others who change the file, and begin from how it is."""
        if self._path is None:
            raise MasterKeyError("this master key has no file that could be changed")
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self.follow()
            yield
        finally:
            os.close(folder)

    def _write(self, keys: Mapping[int, bytes], current: int) -> None:
        self._take(keys, current)
        path = self._path or Path()
        try:
            mode = path.stat().st_mode
            # Written aside, then moved into place: whoever reads the file reads it whole.
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                file.write(self._encode())
                file.flush()
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
                os.fsync(file.fileno())
            os.replace(file.name, path)
            _sync_folder(path.parent)
        except OSError as error:
            raise MasterKeyError(f"cannot write the master key file {path}: {error.strerror}") from None

    def wrap(self, key: bytes, binding: str) -> "Wrapped":
        """Return `key` encrypted with the current version, bound to `binding`."""
        self.follow()
        nonce = os.urandom(_NONCE_SIZE)
        sealed = AESGCM(self._keys[self.current]).encrypt(nonce, key, binding.encode())
        return Wrapped(nonce + sealed, self.current)

    def unwrap(self, wrapped: bytes, version: int, binding: str) -> bytes:
        """Return the key that `version` wrapped.

        Raises:
            MasterKeyError: the file lacks that version.
            Unreadable: another master key wrapped it, or it was changed.
        """
        if version not in self._keys:
            self.follow()
        if version not in self._keys:
            raise MasterKeyError(
                f"a data key is wrapped by master key version {version}, which the master key file does not have"
            )
        try:
            return AESGCM(self._keys[version]).decrypt(wrapped[:_NONCE_SIZE], wrapped[_NONCE_SIZE:], binding.encode())
        except InvalidTag:
            raise Unreadable(
                "a data key does not open with this master key; is it the master key file that this database was "
                "made with?"
            ) from None

    def _encode(self) -> bytes:
        keys = {version: base64.b64encode(key).decode() for version, key in self._keys.items()}
        return msgspec.json.encode(_File(current=self.current, keys=keys))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[bytes, tuple[int, int]]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except OSError as error:
        raise MasterKeyError(f"cannot read the master key file {path}: {error.strerror}") from None
    # A file that somebody else owns may be ours to read by its group, as secrets mounted by Kubernetes are.
    others = stat.S_IRWXO | (stat.S_IRWXG if status.st_uid == os.geteuid() else stat.S_IWGRP)
    if status.st_mode & others:
        raise MasterKeyError(f"the master key file {path} is open to others; run: chmod 600 {path}")
    return content, (status.st_mtime_ns, status.st_ino)


def _parse(content: bytes, path: str | Path) -> tuple[dict[int, bytes], int]:
    try:
        parsed = msgspec.json.decode(content, type=_File)
        keys = {version: base64.b64decode(key, validate=True) for version, key in parsed.keys.items()}
    except (msgspec.MsgspecError, binascii.Error):
        raise MasterKeyError(f"{path} is not a master key file of a format this release knows") from None
    return keys, parsed.current
