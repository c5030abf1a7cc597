"""The composition root: the one place where the parts of a process are made and put together."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct
from redis.asyncio import Redis
from sqlalchemy import text
from temporalio.client import Client

from gateway.audit.trail import Trail
from gateway.auth.keys import api_keys
from gateway.auth.pepper import NO_PEPPER, Pepper
from gateway.auth.service_tokens import ServiceTokens
from gateway.auth.tickets import Tickets
from gateway.auth.tokens import Tokens
from gateway.borrowing import permit
from gateway.idempotency.store import Answers
from gateway.settings import OAUTH_CALLBACK, Settings
from internal_jobs.bindings import JobBindings
from internal_jobs.client import Jobs
from internal_jobs.dead_letters.client import DeadLetters
from internal_jobs.enqueue import enqueue_plugin
from internal_jobs.limits import Limits
from internal_jobs.promotion.timeline import Timelines
from internal_jobs.schedules.client import Schedules as JobSchedules
from internal_jobs.wake import Waker
from internal_jobs.webhooks.desk import Webhooks
from plugins.builtin import builtins
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.desk import Desk
from plugins.builtin.email.server import parse_smtp_url
from plugins.builtin.stock import DEFAULT_PROVIDER
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.invoke import Host
from plugins.host.ledger import Ledger
from plugins.host.registry import Registry, discover
from plugins.mail.desk import open_desk
from plugins.mail.senders import Senders
from plugins.mail.templates import Templates
from plugins.sdk.plugin import Plugin
from plugins.storage.blobs import Blobs
from plugins.storage.database import Database
from plugins.storage.last_used import LastUsed
from plugins.storage.tenants import INSTALLATION
from plugins.vault.credentials import Credentials
from plugins.vault.keys import MasterKey, Vault
from plugins.vault.lending import Lender
from plugins.vault.oauth.authorizations import Authorizations
from plugins.vault.oauth.grants import Grants
from plugins.vault.oauth.provider import Provider
from plugins.vault.renewal import Renewal
from plugins.vault.table import credentials as credentials_table
from user_workflows.admission.gate import Gate
from user_workflows.admission.live_caps import LiveCaps
from user_workflows.admission.reception import Reception
from user_workflows.admission.tenant_caps import TenantCaps
from user_workflows.approvals.desk import Approvals
from user_workflows.client import connect
from user_workflows.executions.bindings import ExecutionBindings
from user_workflows.executions.closure import Closure
from user_workflows.executions.controls import Controls
from user_workflows.executions.executions import Executions
from user_workflows.executions.explainer import Explainer
from user_workflows.executions.responses import Responses
from user_workflows.executions.starts import Starts
from user_workflows.fairness.tiers import Tiers
from user_workflows.inbox.inbox import Inbox
from user_workflows.live.feed import FeedReader, FeedWriter
from user_workflows.live.wakeups import Wakeups
from user_workflows.live.watch import Watch
from user_workflows.payloads import Payloads
from user_workflows.promotion.promotions import Promotions
from user_workflows.promotion.single_step import SingleSteps
from user_workflows.records.announcements import Announcements
from user_workflows.rehearsal.rehearsals import Rehearsals
from user_workflows.triggers.events import Events
from user_workflows.triggers.schedules import Schedules
from user_workflows.workflows.workflows import Workflows

Probe = Callable[[], Awaitable[object]]
Probes = Mapping[str, Probe]


class Platform(Struct, frozen=True, kw_only=True, eq=False):
    """Everything that a process of the gateway works with, open and ready."""

    settings: Settings
    database: Database
    vault: Vault
    credentials: Credentials
    lender: Lender
    authorizations: Authorizations
    renewal: Renewal
    closure: Closure
    answers: Answers
    #: by the name of the part: asks it whether it is there
    probes: Probes
    egress: EgressClient
    registry: Registry
    ledger: Ledger
    host: Host
    jobs: Jobs
    timelines: Timelines
    promotions: Promotions
    job_schedules: JobSchedules
    webhooks: Webhooks
    announcements: Announcements
    job_limits: Limits
    dead_letters: DeadLetters
    senders: Senders
    templates: Templates
    temporal: Client
    workflows: Workflows
    tenant_caps: TenantCaps
    live_caps: LiveCaps
    starts: Starts
    executions: Executions
    inbox: Inbox
    explainer: Explainer
    responses: Responses
    approvals: Approvals
    #: publishes what this process commits, if it runs it
    feed: FeedWriter
    watch: Watch
    payloads: Payloads
    events: Events
    tickets: Tickets
    tiers: Tiers
    tokens: Tokens
    service_tokens: ServiceTokens
    #: what API keys are hashed with
    pepper: Pepper
    #: when they were last used
    keys_used: LastUsed
    trail: Trail
    controls: Controls
    rehearsals: Rehearsals


@asynccontextmanager
async def open_platform(settings: Settings, *, lazy: bool = True) -> AsyncIterator[Platform]:
    """Make every part once, and close them in reverse order.

    Args:
        settings: of this installation.
        lazy: ask nothing of Temporal yet, so that the API starts while it is down; its workers cannot.

    Raises:
        EngineUnavailable: Temporal does not answer (only when not `lazy`).
        MasterKeyError: the master key file cannot be used.
        SettingsError: the file of the key pepper cannot.
        ValueError: an entry of the egress list cannot be read.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings.database_url)
        stack.push_async_callback(database.close)
        vault = Vault(database, MasterKey.load(settings.master_key_file))
        egress = EgressClient(Guard(allow=settings.egress_allow, deny=settings.egress_deny))
        stack.push_async_callback(egress.close)
        provider = Provider(egress)
        grants = Grants(database, vault, provider)
        stack.push_async_callback(grants.close)
        keys_used = LastUsed(database, api_keys)
        stack.push_async_callback(keys_used.close)
        credentials_used = LastUsed(database, credentials_table)
        stack.push_async_callback(credentials_used.close)
        credentials = Credentials(database, vault)
        redis = Redis.from_url(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        jobs = Jobs(database=database, vault=vault, waker=Waker(settings.redis_url))
        stack.push_async_callback(jobs.close)
        connections = SmtpConnections()
        stack.push_async_callback(connections.close)
        senders, templates = Senders(database, vault), Templates(database, vault)
        desk = open_desk(senders, templates)
        registry = discover([enqueue_plugin(jobs)], builtins=_builtins(settings, connections, desk))
        ledger = Ledger(database, vault)
        timelines = Timelines(database, vault)
        temporal = await connect(vault, Blobs(database), settings.temporal, lazy=lazy)
        workflows = Workflows(database=database, vault=vault, registry=registry, schedules=Schedules(temporal))
        lender = Lender(
            database,
            vault,
            permit=permit(ExecutionBindings(database=database, workflows=workflows), JobBindings(database)),
            grants=grants,
            last_used=credentials_used,
        )
        webhooks = Webhooks(database=database, vault=vault, jobs=jobs)
        announcements = Announcements(webhooks)
        gate = Gate(database, settings.caps)
        starts = Starts(
            database=database,
            vault=vault,
            workflows=workflows,
            temporal=temporal,
            reception=Reception(database, vault, gate, announcements),
            generated=settings.generated,
        )
        wakeups = Wakeups(settings.redis_url)
        stack.push_async_callback(wakeups.close)
        executions = Executions(
            database=database,
            vault=vault,
            workflows=workflows,
            temporal=temporal,
            starts=starts,
            wakeups=wakeups,
            announcements=announcements,
        )
        yield Platform(
            settings=settings,
            database=database,
            vault=vault,
            credentials=credentials,
            lender=lender,
            authorizations=Authorizations(database, vault, provider, settings.public_url + OAUTH_CALLBACK),
            renewal=Renewal(database, vault),
            closure=Closure(database, temporal),
            answers=Answers(database, vault),
            probes={
                "database": lambda: _ask(database),
                # Without Redis jobs are accepted, and start later.
                "redis": redis.ping,
                # Without Temporal everything but executions works.
                "temporal": temporal.service_client.check_health,
            },
            egress=egress,
            registry=registry,
            ledger=ledger,
            host=Host(
                registry=registry,
                ledger=ledger,
                lender=lender,
                egress=egress,
                on_failed=timelines.note,
            ),
            jobs=jobs,
            timelines=timelines,
            promotions=Promotions(
                database=database,
                vault=vault,
                steps=SingleSteps(database=database, vault=vault, registry=registry),
                starts=starts,
            ),
            job_schedules=JobSchedules(database=database, vault=vault, jobs=jobs),
            webhooks=webhooks,
            announcements=announcements,
            job_limits=Limits(database, vault),
            senders=senders,
            templates=templates,
            dead_letters=DeadLetters(database, vault),
            temporal=temporal,
            workflows=workflows,
            tenant_caps=TenantCaps(database, gate),
            live_caps=LiveCaps(database, gate),
            starts=starts,
            executions=executions,
            inbox=Inbox(
                database=database,
                vault=vault,
                workflows=workflows,
                executions=executions,
                max_bytes=settings.inbox_bytes,
            ),
            explainer=Explainer(
                database=database, vault=vault, workflows=workflows, executions=executions, temporal=temporal
            ),
            responses=Responses(database=database, vault=vault, workflows=workflows, executions=executions),
            approvals=Approvals(
                database=database,
                vault=vault,
                jobs=jobs,
                temporal=temporal,
                public_url=settings.public_url,
                announcements=announcements,
            ),
            feed=FeedWriter(redis, vault),
            watch=Watch(executions=executions, feed=FeedReader(redis, vault)),
            payloads=Payloads(vault, Blobs(database)),
            events=Events(workflows=workflows, executions=executions),
            tickets=Tickets(vault),
            tiers=Tiers(database),
            pepper=NO_PEPPER if settings.key_pepper_file is None else Pepper.load(settings.key_pepper_file),
            keys_used=keys_used,
            tokens=Tokens(settings.oidc_issuers, database, egress),
            service_tokens=ServiceTokens(vault),
            trail=Trail(database),
            controls=Controls(
                database=database,
                vault=vault,
                registry=registry,
                workflows=workflows,
                starts=starts,
                executions=executions,
            ),
            rehearsals=Rehearsals(workflows=workflows, registry=registry, egress=egress),
        )


def _builtins(settings: Settings, connections: SmtpConnections, desk: Desk) -> tuple[Plugin, ...]:
    """The built-in plugins, over the services of this installation."""
    smtp = None if settings.smtp_url is None else parse_smtp_url(settings.smtp_url)
    quotes = {} if settings.quotes_url is None else {DEFAULT_PROVIDER: settings.quotes_url}
    return builtins(smtp=smtp, connections=connections, desk=desk, quotes=quotes)


async def _ask(database: Database) -> None:
    async with database.read(INSTALLATION) as connection:
        await connection.execute(text("SELECT 1"))
