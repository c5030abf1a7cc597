"""Where a job goes: the host of the ``url`` in its payload, as limits know it."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit


def destination_of(payload: Mapping[str, Any]) -> str | None:
    """Return the digest of the host that a job of this payload calls, or ``None`` when it names none."""
    url = payload.get("url")
    if not isinstance(url, str):
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return host_digest(host) if host else None


def host_digest(host: str) -> str:
    """Return what is stored of a host: equal for equal hosts, and silent about which."""
    return sha256(f"host\0{host.lower().rstrip('.')}".encode()).hexdigest()
