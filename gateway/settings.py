"""Settings: what the environment says about this installation, read once at the start of a process."""

import re
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from msgspec import Struct, field
from msgspec.structs import replace

from gateway.auth.issuers import Issuer, parse_issuers
from gateway.errors import SettingsError
from gateway.local_url import local_url
from gateway.prices import Prices, parse_prices
from internal_jobs.engines import Engine
from plugins.builtin.email.server import parse_smtp_url
from plugins.egress.guard import Guard
from plugins.sdk.duration import parse_duration
from user_workflows.admission.caps import Caps

#: the version of this package
RELEASE = version("orchestration-gateway")

#: seconds that a delivery is known for at least: a signature is good for five minutes, both ways
SHORTEST_KNOWN = 3_600.0

#: where providers of OAuth 2.0 send people back to, behind the public URL
OAUTH_CALLBACK = "/v1/oauth/callback"

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Retention(Struct, frozen=True, kw_only=True):
    """How long each store keeps what is over, in seconds."""

    executions: float = 30 * 86_400.0
    #: what webhooks and CloudEvents brought, as it came
    inbox: float = 14 * 86_400.0
    jobs: float = 14 * 86_400.0
    #: the effect ledger: as long as anything may still be repeated
    effects: float = 60 * 86_400.0
    #: remembered answers to requests with an ``Idempotency-Key``
    idempotency: float = 86_400.0


#: of each tenant for which the administrator has set none
DEFAULT_CAPS = Caps(concurrent_executions=10_000)


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that differs between two installations. `load` reads it from ``GATEWAY_*``."""

    #: ``sqlite:///path`` or ``postgresql://…``
    database_url: str
    #: the same database as who owns its tables opens it, for ``gateway migrate``; ``None``: the same role does both
    database_owner_url: str | None = None
    #: ``redis://…``, ``rediss://…`` or ``unix://…``
    redis_url: str
    #: start on a Redis that drops messages when its memory is full: their jobs are delayed, not lost
    redis_may_evict: bool = False
    master_key_file: Path
    #: what may be reached besides the global internet: CIDRs, addresses, hosts, ``.domain``; a port may follow
    egress_allow: tuple[str, ...] = ()
    #: what may not be reached, whatever else allows it
    egress_deny: tuple[str, ...] = ()
    #: the mail server of `email.send` where no credential is bound: ``smtp://[user:password@]host:port``,
    #: ``smtp+starttls://…`` or ``smtps://…``
    smtp_url: str | None = None
    #: the quote provider of `stock.price`
    quotes_url: str | None = None
    #: the key of the installation's administrator; ``None``: there is none
    admin_key: str | None = None
    #: the secrets under which API keys are hashed; ``None``: SHA-256 alone
    key_pepper_file: Path | None = None
    #: whose tokens are accepted besides API keys
    oidc_issuers: tuple[Issuer, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    #: how the world reaches this API, for the URLs of webhooks
    public_url: str = "http://127.0.0.1:8000"
    #: how the processes of this installation reach its API
    api_url: str = "http://127.0.0.1:8000"
    #: where Temporal's UI is, to which owners may show what is sealed; ``None``: to nobody
    temporal_ui_origin: str | None = None
    log_format: LogFormat = "json"
    log_level: LogLevel = "info"
    #: where a worker serves ``/metrics``; ``None``: nowhere
    metrics_port: int | None = None
    #: versions whose executions run on generated code, which a worker serves: ``wf_….v3``
    generated: frozenset[str] = frozenset()
    retention: Retention = Retention()
    #: bytes that the inbox of one tenant may take, until its oldest events go
    inbox_bytes: int = 2**30
    #: type of jobs → the engine that does them, where it is not Dramatiq
    job_lanes: dict[str, Engine] = field(default_factory=dict)
    #: types of jobs that go on as executions when their attempts are used up
    promoted_jobs: frozenset[str] = frozenset()
    #: of tenants for which the administrator has set none
    caps: Caps = DEFAULT_CAPS
    #: what use is worth; ``None``: nothing is estimated
    prices: Prices | None = None
    #: what executions are pinned to; one name for each version of the code that workers run
    build_id: str = RELEASE
    #: no worker of another build runs beside those of this one
    sole_build: bool = False
    #: ``TEMPORAL_*`` as given, read by `temporalio.envconfig`
    temporal: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        # Half of the fields may carry passwords.
        return "Settings(***)"


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings from `environ`; what is not set, or empty, keeps its default.

    Raises:
        SettingsError: naming every variable that is missing or wrong.
    """
    values, faults = _read(environ, "GATEWAY_", _VARIABLES)
    retention, more = _read(environ, "GATEWAY_RETENTION_", _RETENTION)
    faults += more
    caps, more = _read(environ, "GATEWAY_CAPS_", dict.fromkeys(Caps.__struct_fields__, _cap))
    faults += more
    faults += [f"GATEWAY_{name.upper()} is not set" for name in _REQUIRED if not environ.get(f"GATEWAY_{name.upper()}")]
    if faults:
        raise SettingsError("; ".join(faults))
    temporal = {name: value for name, value in environ.items() if name.startswith("TEMPORAL_")}
    settings = Settings(
        **values, retention=Retention(**retention), caps=replace(DEFAULT_CAPS, **caps), temporal=temporal
    )
    if "public_url" not in values:
        settings = replace(settings, public_url=f"http://{settings.host}:{settings.port}")
    if "api_url" not in values:
        settings = replace(settings, api_url=local_url(settings.host, settings.port))
    return settings


def _read(
    environ: Mapping[str, str], prefix: str, variables: Mapping[str, Callable[[str], Any]]
) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    faults: list[str] = []
    for field_name, parse in variables.items():
        variable = prefix + field_name.upper()
        if text := environ.get(variable):
            try:
                values[field_name] = parse(text)
            except ValueError as error:
                faults.append(f"{variable}: {error}")
    return values, faults


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise ValueError(f"{text!r} is not a port number")
    return int(text)


def _known(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < SHORTEST_KNOWN:
        raise ValueError(f"{text!r} is less than an hour: a delivery that comes again is known by its execution")
    return seconds


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _cap(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**31:
        raise ValueError(f"{text!r} is neither a number from 1 on nor none")
    return int(text)


def _build_id(text: str) -> str:
    if len(text) > 200 or any(character.isspace() for character in text):
        raise ValueError(f"{text[:50]!r} must have at most 200 characters, and no spaces")
    return text


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


# The messages below do not repeat the value: it may hold a password.
def _database_url(text: str) -> str:
    if not text.startswith(("sqlite:", "sqlite+", "postgresql:", "postgresql+", "postgres:")):
        raise ValueError("write sqlite:///path/to/file.db or postgresql://user:password@host/name")
    return text


def _redis_url(text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("write redis://host:port, rediss://host:port or unix://path")
    return text


def _web_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("write a URL that begins with http:// or https://")
    return text.rstrip("/")


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("write an origin, such as https://temporal.example.com, without a path")
    return text


def _smtp_url(text: str) -> str:
    parse_smtp_url(text)
    return text


def _egress_rules(text: str) -> tuple[str, ...]:
    entries = tuple(part for part in (part.strip() for part in text.split(",")) if part)
    Guard(allow=entries)
    return entries


def _generated_types(text: str) -> frozenset[str]:
    types = [part.strip() for part in text.split(",") if part.strip()]
    for each in types:
        if not re.fullmatch(r"wf_[A-Za-z0-9]+\.v[1-9][0-9]*", each):
            raise ValueError(f"{each!r} is not the TYPE of a generated module, such as wf_01ABC.v3")
    return frozenset(types)


def _job_lanes(text: str) -> dict[str, Engine]:
    lanes: dict[str, Engine] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        type, _, lane = (part.strip() for part in entry.partition("="))
        if not type or lane not in ("dramatiq", "temporal"):
            raise ValueError(f"{entry!r} is not like data.sync=temporal or data.sync=dramatiq")
        lanes[type] = "temporal" if lane == "temporal" else "dramatiq"
    return lanes


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, (part.strip() for part in text.split(","))))


def _long_enough(text: str) -> str:
    if len(text) < 32:
        raise ValueError("an admin key needs at least 32 characters")
    return text


def _one_of(choices: Any) -> Callable[[str], str]:
    names = get_args(choices)

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"{text!r} is none of {', '.join(names)}")
        return text

    return parse


_REQUIRED = ("database_url", "redis_url", "master_key_file")

#: field of `Retention` → how its variable, ``GATEWAY_RETENTION_<FIELD>``, is read
_RETENTION: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(Retention.__struct_fields__, parse_duration),
    "executions": _known,
}

#: field of `Settings` → how its variable, ``GATEWAY_<FIELD>``, is read
_VARIABLES: dict[str, Callable[[str], Any]] = {
    "database_url": _database_url,
    "database_owner_url": _database_url,
    "redis_url": _redis_url,
    "redis_may_evict": _flag,
    "master_key_file": Path,
    "egress_allow": _egress_rules,
    "egress_deny": _egress_rules,
    "smtp_url": _smtp_url,
    "quotes_url": _web_url,
    "admin_key": _long_enough,
    "key_pepper_file": Path,
    "oidc_issuers": parse_issuers,
    "prices": parse_prices,
    "host": str,
    "port": _port,
    "public_url": _web_url,
    "temporal_ui_origin": _origin,
    "api_url": _web_url,
    "log_format": _one_of(LogFormat),
    "log_level": _one_of(LogLevel),
    "metrics_port": _port,
    "generated": _generated_types,
    "inbox_bytes": _count,
    "job_lanes": _job_lanes,
    "promoted_jobs": _names,
    "build_id": _build_id,
    "sole_build": _flag,
}
