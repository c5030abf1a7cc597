"""What `gateway doctor` looks at: each check is one question about the settings, answered with the way out."""

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, GetSystemInfoRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from gateway.errors import SettingsError
from gateway.settings import Settings, load
from gateway.up.errors import ServerMissing
from gateway.up.temporal import find_temporal
from gateway.up.valkey import find_valkey
from plugins.egress.guard import Guard
from plugins.storage.database import Database
from plugins.storage.isolation import is_above_isolation
from plugins.storage.tenants import INSTALLATION
from plugins.vault.errors import VaultError
from plugins.vault.keys import MasterKey
from user_workflows.fairness.stranded import Served, look_at_queues
from user_workflows.fairness.tiers import Tiers

_PATIENCE = 5.0
_LOW_DISK = 2**30
_SKEW = timedelta(seconds=5)
#: of the large clouds
_METADATA = "169.254.169.254"

Verdict = Literal["ok", "warning", "error"]


class Finding(Struct, frozen=True):
    what: str
    verdict: Verdict
    detail: str
    #: what to do about it
    remedy: str = ""


async def examine(environ: Mapping[str, str], data_dir: Path) -> list[Finding]:
    """Answer every question; what cannot be asked for want of settings is left out."""
    findings = [_python(), *_programs(environ), _disk(data_dir)]
    try:
        settings = load(environ)
    except SettingsError as error:
        remedy = "Set them, or run `gateway up`, which fills what is not set."
        return [*findings, Finding("settings", "error", str(error), remedy)]
    checks: Sequence[tuple[str, Callable[[Settings], Awaitable[list[Finding]]]]] = (
        ("database", _database),
        ("redis", _redis),
        ("temporal", _temporal),
        ("workers", _workers),
        ("master key", _master_key),
        ("egress", _egress),
    )
    answers = await asyncio.gather(*(_answer(what, check, settings) for what, check in checks))
    return [*findings, Finding("settings", "ok", "complete"), *(finding for answer in answers for finding in answer)]


async def _answer(
    what: str, check: Callable[[Settings], Awaitable[list[Finding]]], settings: Settings
) -> list[Finding]:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await check(settings)
    except TimeoutError:
        return [Finding(what, "error", f"does not answer within {_PATIENCE:g} s", "Is it running, and reachable?")]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", f"{version} at {sys.executable}")


def _programs(environ: Mapping[str, str]) -> list[Finding]:
    findings = []
    for what, variable, find in (
        ("valkey program", "GATEWAY_REDIS_URL", find_valkey),
        ("temporal program", "TEMPORAL_ADDRESS", find_temporal),
    ):
        try:
            findings.append(Finding(what, "ok", str(find())))
        except ServerMissing as error:
            # Who names a server of their own needs no program for one.
            findings.append(Finding(what, "warning" if environ.get(variable) else "error", str(error)))
    return findings


def _disk(data_dir: Path) -> Finding:
    existing = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / 2**30:.1f} GiB free at {data_dir}"
    if free < _LOW_DISK:
        return Finding("disk", "warning", detail, "Free some space, or use another folder with --data-dir.")
    return Finding("disk", "ok", detail)


async def _database(settings: Settings) -> list[Finding]:
    shown = make_url(settings.database_url).render_as_string(hide_password=True)
    database = Database(settings.database_url)
    try:
        async with database.read(INSTALLATION) as connection:
            await connection.execute(text("SELECT 1"))
            heads = await connection.run_sync(lambda plain: MigrationContext.configure(plain).get_current_heads())
            clock = None
            walls: list[Finding] = []
            if not database.is_sqlite:
                clock = (await connection.execute(text("SELECT now()"))).scalar_one()
                walls = [_walls(is_above=await connection.run_sync(is_above_isolation))]
    except (SQLAlchemyError, OSError) as error:
        return [Finding("database", "error", f"{shown}: {_first_line(error)}", "Check GATEWAY_DATABASE_URL.")]
    finally:
        await database.close()
    clocks = [] if clock is None else [_clock("database", clock)]
    if set(heads) != set(_latest_revisions()):
        return [Finding("database", "error", f"{shown}: the schema is not of this release", "Run `gateway migrate`.")]
    return [Finding("database", "ok", shown), *walls, *clocks]


def _walls(*, is_above: bool) -> Finding:
    if is_above:
        remedy = "Let the processes use a role that is neither: see deploy/security.md."
        return Finding("row security", "warning", "the role is a superuser, or bypasses row-level security", remedy)
    return Finding("row security", "ok", "a transaction sees the rows of its tenant alone")


async def _redis(settings: Settings) -> list[Finding]:
    parts = urlsplit(settings.redis_url)
    shown = f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else parts.path)
    async with Redis.from_url(settings.redis_url, decode_responses=True, socket_timeout=3) as client:
        try:
            await client.ping()
            seconds, microseconds = await client.time()
        except (RedisError, OSError) as error:
            return [Finding("redis", "error", f"{shown}: {_first_line(error)}", "Check GATEWAY_REDIS_URL.")]
        clock = _clock("redis", datetime.fromtimestamp(seconds + microseconds / 1e6, UTC))
        try:
            config = await client.config_get("maxmemory-policy", "appendonly")
        except ResponseError:
            detail = f"{shown}: does not show its configuration"
            remedy = "Make sure that maxmemory-policy is noeviction and that it persists."
            return [Finding("redis", "warning", detail, remedy), clock]
    if config.get("maxmemory-policy") != "noeviction":
        detail = f"{shown}: maxmemory-policy is {config.get('maxmemory-policy')}: jobs may vanish under pressure"
        return [Finding("redis", "error", detail, "Set maxmemory-policy to noeviction."), clock]
    if config.get("appendonly") != "yes":
        detail = f"{shown}: there is no append-only file: a crash delays the jobs that were queued"
        return [Finding("redis", "warning", detail, "Set appendonly to yes."), clock]
    return [Finding("redis", "ok", f"{shown} (noeviction, append-only file)"), clock]


async def _temporal(settings: Settings) -> list[Finding]:
    config = ClientConfig.load_client_connect_config(override_env_vars=dict(settings.temporal))
    config.setdefault("target_host", "localhost:7233")
    shown = f"{config['target_host']} namespace {config.get('namespace', 'default')}"
    try:
        client = await Client.connect(**config, connect_timeout=timedelta(seconds=3))
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
        system = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    except (RPCError, RuntimeError) as error:
        return [Finding("temporal", "error", f"{shown}: {_first_line(error)}", "Check TEMPORAL_ADDRESS and its kin.")]
    return [Finding("temporal", "ok", f"{shown}, server {system.server_version}")]


async def _workers(settings: Settings) -> list[Finding]:
    """Look for queues on which executions wait for nobody; what is down besides is found by its own question."""
    database = Database(settings.database_url)
    try:
        granted = await Tiers(database).queues()
        config = ClientConfig.load_client_connect_config(override_env_vars=dict(settings.temporal))
        config.setdefault("target_host", "localhost:7233")
        queues = await look_at_queues(await Client.connect(**config, connect_timeout=timedelta(seconds=3)), granted)
    except (SQLAlchemyError, OSError, RPCError, RuntimeError):
        return []
    finally:
        await database.close()
    return [_served(queue) for queue in queues]


def _served(queue: Served) -> Finding:
    if queue.name is None:
        detail, remedy = "user workflows", "Run `gateway worker user-workflows`."
    else:
        detail = f"user workflows on the queue {queue.name} (tenants: {queue.tenants})"
        remedy = f"Run `gateway worker user-workflows --queue {queue.name}`."
    if queue.is_served:
        return Finding("workers", "ok", detail)
    waiting = "executions wait there, and " if queue.name is not None and queue.is_in_use else ""
    # The worker that all share may just not have been started yet.
    return Finding(
        "workers", "error" if queue.name else "warning", f"{detail}: {waiting}no worker asks for work", remedy
    )


async def _master_key(settings: Settings) -> list[Finding]:
    try:
        master = MasterKey.load(settings.master_key_file)
    except VaultError as error:
        return [Finding("master key", "error", str(error), "Restore it from your backup: without it secrets are lost.")]
    return [
        Finding("master key", "ok", f"{settings.master_key_file} (versions {', '.join(map(str, master.versions))})")
    ]


async def _egress(settings: Settings) -> list[Finding]:
    allowed, denied = ", ".join(settings.egress_allow), ", ".join(settings.egress_deny)
    detail = "the public internet" + (f", {allowed}" if allowed else "") + (f"; never {denied}" if denied else "")
    guard = Guard(allow=settings.egress_allow, deny=settings.egress_deny)
    if guard.lets_through(_METADATA, 80):
        remedy = "Add it to GATEWAY_EGRESS_DENY: it hands out the machine's own credentials."
        return [Finding("egress", "warning", f"{detail}: plugins reach the metadata service {_METADATA}", remedy)]
    return [Finding("egress", "ok", detail)]


def _clock(whose: str, theirs: datetime) -> Finding:
    skew = abs(datetime.now(UTC) - theirs)
    detail = f"{skew.total_seconds():.1f} s from the clock of {whose}"
    if skew > _SKEW:
        return Finding("clock", "error", detail, "Synchronise the clocks: leases and signatures depend on them.")
    return Finding("clock", "ok", detail)


def _latest_revisions() -> Sequence[str]:
    with as_file(files("deploy") / "migrations") as scripts:
        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        return ScriptDirectory.from_config(config).get_heads()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
