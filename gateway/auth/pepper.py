"""What API keys are hashed with: HMAC-SHA-256 under a secret that the database does not hold, where there is one."""

import hmac
import os
import stat
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from gateway.errors import SettingsError

_SHORTEST = 32


class Pepper:
    """Hashes API keys.

    Args:
        secrets: the first one hashes; hashes under the others, and those of SHA-256 alone, are recognised, too.
    """

    def __init__(self, secrets: Sequence[bytes] = ()) -> None:
        self._secrets = tuple(secrets)

    def __repr__(self) -> str:
        return f"Pepper({len(self._secrets)} secrets)"

    @classmethod
    def load(cls, path: Path) -> "Pepper":
        """Read a file with a secret on each line, the newest first.

        Raises:
            SettingsError: it is absent, open to others, empty, or holds a short one.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                secrets = [line.strip() for line in file if line.strip()]
        except OSError as error:
            raise SettingsError(f"GATEWAY_KEY_PEPPER_FILE: cannot read {path}: {error.strerror}") from None
        if mode & stat.S_IRWXO:
            raise SettingsError(f"GATEWAY_KEY_PEPPER_FILE: {path} is open to others; run: chmod 600 {path}")
        if not secrets or any(len(secret) < _SHORTEST for secret in secrets):
            raise SettingsError(
                f"GATEWAY_KEY_PEPPER_FILE: {path} needs a line of at least {_SHORTEST} random characters"
            )
        return cls(secrets)

    def digest(self, key: str) -> bytes:
        """Return what is stored of a key. Its 256 random bits need no slow hash."""
        return self._digests(key)[0]

    def matches(self, key: str, stored: bytes) -> bool:
        """Whether `stored` is a hash of `key`; takes the same time whichever it is."""
        return sum(hmac.compare_digest(stored, digest) for digest in self._digests(key)) > 0

    def _digests(self, key: str) -> list[bytes]:
        return [
            *(hmac.digest(secret, key.encode(), "sha256") for secret in self._secrets),
            sha256(key.encode()).digest(),
        ]


#: SHA-256 alone
NO_PEPPER = Pepper()
