"""Where a tenant's database is: a URL read strictly, for a driver would take files and sockets from one, too."""

from typing import Literal, cast, get_args
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Struct

SslMode = Literal["verify-full", "require", "disable"]

_FORM = "postgresql://user:password@host:port/database, with ?sslmode=verify-full, require or disable"


class DatabasePlace(Struct, frozen=True, kw_only=True):
    host: str
    port: int
    user: str
    password: str
    name: str
    #: as libpq calls them; without one a certificate of a known authority is required
    sslmode: SslMode


def parse_database_url(url: str) -> DatabasePlace:
    """Read the URL of a PostgreSQL database on a host.

    Raises:
        ValueError: it has another form, or names what is on this machine; the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        mode = query.pop("sslmode", ["verify-full"])[0]
        host, name = parts.hostname, unquote(parts.path.removeprefix("/"))
        if parts.scheme not in ("postgresql", "postgres") or query or mode not in get_args(SslMode):
            raise ValueError
        if not host or "/" in unquote(host) or "," in parts.netloc or not name or parts.username is None:
            raise ValueError
        return DatabasePlace(
            host=host,
            port=parts.port or 5432,
            user=unquote(parts.username),
            password=unquote(parts.password or ""),
            name=name,
            sslmode=cast(SslMode, mode),
        )
    except ValueError:
        raise ValueError(f"a database is written {_FORM}; of other kinds or on this machine there are none") from None
