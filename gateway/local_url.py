"""How this machine reaches a server of its own."""

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = {"0.0.0.0": _LOOPBACK, "::": "[::1]", "": _LOOPBACK}  # noqa: S104 - compared with, not bound


def local_url(host: str, port: int) -> str:
    """Return how this machine reaches a server that listens on `host` and `port`."""
    return f"http://{_EVERYWHERE.get(host, f'[{host}]' if ':' in host else host)}:{port}"
