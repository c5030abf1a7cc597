"""The law of the house: floors, doors, homes of libraries, and purity. Each rule is shown to catch a planted fault."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]

#: Import only what is below.
FLOORS = ("plugins", "internal_jobs", "user_workflows", "gateway")

#: package → the modules of it that others may import.
DOORS: dict[str, tuple[str, ...]] = {
    "plugins": (
        "plugins",
        "plugins.builtin",
        "plugins.builtin.email.connections",
        "plugins.builtin.email.desk",
        "plugins.builtin.email.server",
        "plugins.builtin.email.template",
        "plugins.builtin.status",
        "plugins.builtin.stock",
        "plugins.egress.client",
        "plugins.egress.guard",
        "plugins.host.invoke",
        "plugins.host.ledger",
        "plugins.host.pure",
        "plugins.host.perform",
        "plugins.host.registry",
        "plugins.host.retry",
        "plugins.host.threads",
        "plugins.mail.desk",
        "plugins.mail.errors",
        "plugins.mail.senders",
        "plugins.mail.templates",
        "plugins.sdk.conform",
        "plugins.sdk.context",
        "plugins.sdk.credential",
        "plugins.sdk.duration",
        "plugins.sdk.effect",
        "plugins.sdk.errors",
        "plugins.sdk.plugin",
        "plugins.sdk.schema",
        "plugins.signing",
        "plugins.trace",
        "plugins.storage.blobs",
        "plugins.storage.clock",
        "plugins.storage.database",
        "plugins.storage.ids",
        "plugins.storage.isolation",
        "plugins.storage.last_used",
        "plugins.storage.tenants",
        "plugins.vault.cipher",
        "plugins.vault.credentials",
        "plugins.vault.errors",
        "plugins.vault.forms",
        "plugins.vault.keys",
        "plugins.vault.lending",
        "plugins.vault.oauth.authorizations",
        "plugins.vault.oauth.grants",
        "plugins.vault.oauth.provider",
        "plugins.vault.table",
        "plugins.vault.renewal",
    ),
    "internal_jobs": (
        "internal_jobs.bindings",
        "internal_jobs.cell",
        "internal_jobs.client",
        "internal_jobs.closure",
        "internal_jobs.cron",
        "internal_jobs.dead_letters.client",
        "internal_jobs.dead_letters.model",
        "internal_jobs.enqueue",
        "internal_jobs.errors",
        "internal_jobs.eviction",
        "internal_jobs.jobs",
        "internal_jobs.engines",
        "internal_jobs.limits",
        "internal_jobs.promotion.promoter",
        "internal_jobs.promotion.record",
        "internal_jobs.promotion.timeline",
        "internal_jobs.schedules.client",
        "internal_jobs.schedules.scheduler",
        "internal_jobs.usage",
        "internal_jobs.wake",
        "internal_jobs.webhooks.desk",
        "internal_jobs.worker",
    ),
    "user_workflows": (
        "user_workflows.admission.caps",
        "user_workflows.admission.gate",
        "user_workflows.admission.live_caps",
        "user_workflows.admission.reception",
        "user_workflows.admission.tenant_caps",
        "user_workflows.records.announcements",
        "user_workflows.approvals.desk",
        "user_workflows.executions.beginnings",
        "user_workflows.client",
        "user_workflows.executions.bindings",
        "user_workflows.executions.closure",
        "user_workflows.codec",
        "user_workflows.codegen.export",
        "user_workflows.codegen.load",
        "user_workflows.executions.controls",
        "user_workflows.definition.model",
        "user_workflows.definition.trigger_configs",
        "user_workflows.definition.validate",
        "user_workflows.errors",
        "user_workflows.triggers.events",
        "user_workflows.executions.views",
        "user_workflows.executions.executions",
        "user_workflows.executions.explainer",
        "user_workflows.live.feed",
        "user_workflows.triggers.hooks",
        "user_workflows.inbox.event",
        "user_workflows.inbox.inbox",
        "user_workflows.interpreter.approvals",
        "user_workflows.interpreter.loops",
        "user_workflows.interpreter.messages",
        "user_workflows.interpreter.queues",
        "user_workflows.interpreter.responses",
        "user_workflows.payloads",
        "user_workflows.plan.compile",
        "user_workflows.plan.forecast",
        "user_workflows.plan.model",
        "user_workflows.executions.redo",
        "user_workflows.promotion.promotions",
        "user_workflows.rehearsal.rehearsals",
        "user_workflows.executions.responses",
        "user_workflows.promotion.single_step",
        "user_workflows.executions.starts",
        "user_workflows.fairness.stranded",
        "user_workflows.fairness.tiers",
        "user_workflows.triggers.schedules",
        "user_workflows.executions.usage",
        "user_workflows.builds",
        "user_workflows.worker",
        "user_workflows.live.wakeups",
        "user_workflows.live.watch",
        "user_workflows.executions.why",
        "user_workflows.workflows.workflows",
    ),
    "user_workflows.expressions": ("user_workflows.expressions", "user_workflows.expressions.kinds"),
}

#: module → why it may act for every tenant at once
ACROSS: dict[str, str] = {
    # to find whose a presented token is
    "gateway.auth.keys": "API keys",
    "user_workflows.approvals.desk": "links of approvals; decisions not told yet",
    "user_workflows.triggers.live": "webhook tokens",
    # the relay and the sweeps look at what is due, whosever it is
    "internal_jobs.dead_letters.replayer": "replays under way",
    "internal_jobs.inbox.intake": "what other services inserted",
    "internal_jobs.leases": "leases that ran out",
    "internal_jobs.outbox": "the backlog, shared out in turns",
    "internal_jobs.promotion.promoter": "jobs that are to become executions",
    "internal_jobs.schedules.scheduler": "due schedules",
    "internal_jobs.webhooks.deliveries": "deliveries without a job; retention",
    "user_workflows.admission.usher": "queues, and what was let in and not handed over",
    "user_workflows.workflows.changes": "changes that were cut short",
    "user_workflows.records.reconcile": "open records",
    "user_workflows.fairness.tiers": "queues that any tenant has",
    # retention
    "gateway.idempotency.store": "answers",
    "internal_jobs.schedules.client": "firings",
    "internal_jobs.store": "jobs",
    "plugins.host.ledger": "effects",
    "user_workflows.executions.executions": "executions",
    "user_workflows.inbox.inbox": "inbound events",
    "plugins.storage.tenants": "tenants that are being shredded",
    # keys, wrapped again
    "plugins.vault.keys": "data keys",
}

#: library → the only modules that may import it; a package stands for everything inside it.
HOMES: dict[str, tuple[str, ...]] = {
    # engines
    "temporalio": ("user_workflows", "gateway.up", "gateway.compose", "gateway.cli.checks"),
    "dramatiq": ("internal_jobs",),
    "networkx": ("user_workflows.plan.graph",),
    # HTTP in, and people
    "litestar": ("gateway",),
    "uvicorn": ("gateway",),
    "click": ("gateway",),
    "rich": ("gateway",),
    # the only way out of the machine; the command line is a client of our own API
    "httpx": ("plugins.egress", "gateway.cli", "gateway.demo", "gateway.up"),
    "httpcore": ("plugins.egress",),
    "socket": ("plugins.egress",),
    "ssl": ("plugins.egress", "plugins.builtin.email.failures", "plugins.builtin.sync.postgres"),
    **dict.fromkeys(
        (
            "aiohttp",
            "anyio",
            "ftplib",
            "http.client",
            "imaplib",
            "nntplib",
            "poplib",
            "pycurl",
            "requests",
            "smtplib",
            "socketserver",
            "telnetlib",
            "trio",
            "urllib.request",
            "urllib3",
            "websockets",
            "xmlrpc",
        ),
        (),
    ),
    # the installation's own store, and nothing that a tenant names
    "redis": ("internal_jobs", "user_workflows", "gateway"),
    "aiosmtplib": ("plugins.builtin.email",),
    "minijinja": ("plugins.builtin.email.template",),
    "idna": ("plugins.builtin.email.mailbox",),
    "aiosmtpd": ("gateway.up",),
    # one implementation of each
    "jwt": ("gateway.auth",),
    # the gateway's own database is SQLAlchemy's; a tenant's is reached through the guard
    "asyncpg": ("plugins.builtin.sync.postgres",),
    "alembic": ("gateway.migrate", "gateway.cli.checks", "gateway.up.bootstrap"),
    "cryptography": ("plugins.vault",),
    "cronsim": ("internal_jobs.cron",),
    "jsonschema": ("user_workflows.definition.forms",),
    "pickle": (),
}

#: calls that open a connection, whatever they are imported from
CONNECTIONS = frozenset({
    "create_connection", "create_datagram_endpoint", "create_unix_connection", "open_connection",
    "open_unix_connection", "sock_connect",
})  # fmt: skip

#: the modules that may open connections; `up` looks whether the servers that it starts answer
CONNECTING = ("plugins.egress", "gateway.up")

STANDARD_AND_PURE = frozenset({
    "abc", "base64", "binascii", "bisect", "collections", "collections.abc", "contextlib", "copy", "dataclasses",
    "datetime", "decimal", "difflib", "enum", "functools", "heapq", "itertools", "json", "math", "operator", "re",
    "string", "types", "typing", "urllib.parse", "zoneinfo", "msgspec",
})  # fmt: skip

#: package → everything that it may import from outside itself: what runs in it is replayed, and must come out the same.
PURE: dict[str, frozenset[str]] = {
    "user_workflows.expressions": STANDARD_AND_PURE | {"re2"},
    "user_workflows.interpreter": STANDARD_AND_PURE
    | {
        "asyncio",
        "plugins.host.retry",
        "plugins.sdk.duration",
        "temporalio",
        "temporalio.common",
        "temporalio.exceptions",
        "temporalio.workflow",
        "user_workflows.expressions",
        "user_workflows.plan.model",
    },
    "user_workflows.generated": STANDARD_AND_PURE
    | {
        "asyncio",
        "plugins.host.retry",
        "temporalio",
        "temporalio.common",
        "temporalio.exceptions",
        "temporalio.workflow",
        "user_workflows.expressions",
        "user_workflows.interpreter.approvals",
        "user_workflows.interpreter.calls",
        "user_workflows.interpreter.compensation",
        "user_workflows.interpreter.control",
        "user_workflows.interpreter.details",
        "user_workflows.interpreter.effort",
        "user_workflows.interpreter.emit",
        "user_workflows.interpreter.ending",
        "user_workflows.interpreter.errors",
        "user_workflows.interpreter.figures",
        "user_workflows.interpreter.joins",
        "user_workflows.interpreter.journal",
        "user_workflows.interpreter.limits",
        "user_workflows.interpreter.loops",
        "user_workflows.interpreter.messages",
        "user_workflows.interpreter.node",
        "user_workflows.interpreter.responses",
        "user_workflows.interpreter.seen",
        "user_workflows.interpreter.state",
        "user_workflows.interpreter.steps",
        "user_workflows.interpreter.valve",
        "user_workflows.interpreter.waits",
        "user_workflows.plan.model",
    },
}

#: calls whose answer differs from one process, or one moment, to the next
IMPURE_CALLS = frozenset({
    "asyncio.create_subprocess_exec", "asyncio.open_connection", "asyncio.run", "asyncio.sleep", "asyncio.to_thread",
    "date.today", "datetime.now", "datetime.today", "datetime.utcnow",
    "__import__", "eval", "exec", "hash", "id", "input", "open", "print",
})  # fmt: skip

#: names that say nothing
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "base", "manager", "misc"}

#: the modules that may import what they know only by name: a command is loaded when it is called
IMPORTS_BY_NAME = ("gateway.cli.commands",)

#: the modules that may read the environment; all others get what they need from their caller
ENVIRONMENT = ("gateway.settings", "gateway.cli", "gateway.up")

Rule = Callable[[str, ast.Module], Iterator[str]]


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def path_of(module: str) -> Path | None:
    """Return the file of one of our modules, or ``None`` when there is none of that name."""
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name taken from it) of every import; the name is ``None`` where the module itself is taken."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole, None) if path_of(whole) or whole in HOMES else (str(node.module), alias.name)


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` of a chain of names, with ``?`` for what is no name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def floors(module: str, tree: ast.Module) -> Iterator[str]:
    """A floor imports only what is below it."""
    own = FLOORS.index(module.split(".")[0])
    for target, _ in imported(tree):
        if target.split(".")[0] in FLOORS[own + 1 :]:
            yield f"{module} imports {target}, which is above it"


def doors(module: str, tree: ast.Module) -> Iterator[str]:
    """A package is entered by its doors, and no name with an underscore leaves its module."""
    for target, name in imported(tree):
        if target.split(".")[0] not in FLOORS:
            continue
        if any(part.startswith("_") for part in [*target.split("."), name or ""] if not part.startswith("__")):
            yield f"{module} imports the private {target}.{name}" if name else f"{module} imports the private {target}"
        for package, open_to_all in DOORS.items():
            enters = within(target, (package,)) and not within(module, (package,))
            if enters and target not in open_to_all:
                yield f"{module} imports {target}, which is no door of {package}"


def homes(module: str, tree: ast.Module) -> Iterator[str]:
    """A library is imported only where it is at home."""
    for target, _ in imported(tree):
        for library, allowed in HOMES.items():
            if within(target, (library,)) and not within(module, allowed):
                yield f"{module} imports {target}, which is at home in {', '.join(allowed) or 'no module'}"


def purity(module: str, tree: ast.Module) -> Iterator[str]:
    """What Temporal replays imports and calls nothing that could answer differently the second time."""
    for package, allowed in PURE.items():
        if not within(module, (package,)):
            continue
        for target, name in imported(tree):
            if target not in allowed and not within(target, (package,)):
                yield f"{module} imports {target}, which {package} may not"
            elif f"{target}.{name}" in IMPURE_CALLS:
                yield f"{module} imports {target}.{name}, which {package} may not"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ".".join(dotted(node.func).split(".")[-2:]) in IMPURE_CALLS:
                yield f"{module}:{node.lineno} calls {dotted(node.func)}"
            elif isinstance(node, ast.For | ast.comprehension) and is_set(node.iter):
                yield f"{module}:{node.iter.lineno} walks a set, whose order differs from process to process"


def is_set(node: ast.expr) -> bool:
    made = isinstance(node, ast.Call) and dotted(node.func) in {"set", "frozenset"}
    return made or isinstance(node, ast.Set | ast.SetComp)


def imports_at_the_top(module: str, tree: ast.Module) -> Iterator[str]:
    """Imports stand at the top of a module: one inside a function, or for the type checker alone, hides a circle."""
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    yield f"{module}:{inner.lineno} imports below the top"
    for named in ast.walk(tree):
        if isinstance(named, ast.Name | ast.Attribute | ast.alias) and "TYPE_CHECKING" in ast.unparse(named).split("."):
            yield f"{module} uses TYPE_CHECKING"
        by_name = isinstance(named, ast.Call) and dotted(named.func).split(".")[-1] in {"__import__", "import_module"}
        if by_name and module not in IMPORTS_BY_NAME:
            yield f"{module} imports by a name that nobody can check"


def names(module: str, _tree: ast.Module) -> Iterator[str]:
    """A module is named for the thing it defines."""
    for part in module.split("."):
        if part in EMPTY_NAMES:
            yield f"{module}: {part!r} says nothing"


def environment(module: str, tree: ast.Module) -> Iterator[str]:
    """Only the composition root reads the environment."""
    if within(module, ENVIRONMENT):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and dotted(node) in {"os.environ", "os.getenv"}:
            yield f"{module}:{node.lineno} reads {dotted(node)}"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (f"{module} reads os.{name.name}" for name in node.names if name.name in {"environ", "getenv"})


def tenants(module: str, tree: ast.Module) -> Iterator[str]:
    """Only these modules reach across tenants, past PostgreSQL's row-level security."""
    if module in ACROSS:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "across":
            yield f"{module}:{node.lineno} reaches across tenants"


def connections(module: str, tree: ast.Module) -> Iterator[str]:
    """Only the egress guard opens connections; others are given sockets that it has opened."""
    if within(module, CONNECTING):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or dotted(node.func).split(".")[-1] not in CONNECTIONS:
            continue
        if "sock" not in {keyword.arg for keyword in node.keywords}:
            yield f"{module}:{node.lineno} calls {dotted(node.func)}"


RULES: tuple[Rule, ...] = (
    floors,
    doors,
    homes,
    connections,
    purity,
    imports_at_the_top,
    names,
    environment,
    tenants,
)


def modules() -> Iterator[tuple[str, ast.Module]]:
    for floor in FLOORS:
        for file in sorted((ROOT / floor).rglob("*.py")):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, ast.parse(file.read_text(), file)


@pytest.fixture(scope="module")
def house() -> list[tuple[str, ast.Module]]:
    return list(modules())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_law(rule: Rule, house: list[tuple[str, ast.Module]]) -> None:
    assert len(house) > 100
    assert sorted({violation for module, tree in house for violation in rule(module, tree)}) == []


def test_every_door_is_used(house: list[tuple[str, ast.Module]]) -> None:
    """A door that nobody enters any more is shut; `plugins` itself is where authors of plugins come in."""
    used = {
        (package, target)
        for package in DOORS
        for module, tree in house
        for target, _ in imported(tree)
        if not within(module, (package,))
    }
    doors_of_all = {(package, door) for package, opened in DOORS.items() for door in opened}
    assert doors_of_all - used - {("plugins", "plugins")} == set()


FAULTS: list[tuple[Rule, str, str, str]] = [
    (floors, "plugins.host.invoke", "from internal_jobs.client import Jobs", "above it"),
    (floors, "plugins.sdk.plugin", "import gateway.app", "above it"),
    (floors, "internal_jobs.runner", "from user_workflows import executions", "above it"),
    (floors, "user_workflows.executions.starts", "def f():\n    import gateway", "above it"),
    (doors, "gateway.app", "from internal_jobs.broker import make_broker", "no door of internal_jobs"),
    (doors, "user_workflows.executions.starts", "from internal_jobs import store", "no door of internal_jobs"),
    (doors, "gateway.app", "from user_workflows.expressions.parser import parse", "no door of user_workflows"),
    (
        doors,
        "user_workflows.plan.compile",
        "import user_workflows.expressions.lexer",
        "no door of user_workflows.expressions",
    ),
    (doors, "gateway.app", "from plugins.storage.database import _engine", "private plugins.storage.database._engine"),
    (doors, "gateway.app", "from gateway.compose import _open", "private gateway.compose._open"),
    (homes, "plugins.builtin.http", "import httpx", "at home in plugins.egress"),
    (homes, "plugins.builtin.http", "from urllib.request import urlopen", "at home in no module"),
    (homes, "plugins.builtin.http", "from urllib import request", "at home in no module"),
    (homes, "plugins.builtin.webhook", "import socket", "at home in plugins.egress"),
    (homes, "plugins.builtin.webhook", "import aiosmtplib", "at home in plugins.builtin.email"),
    (homes, "internal_jobs.runner", "from temporalio.client import Client", "at home in user_workflows"),
    (homes, "user_workflows.worker", "import dramatiq.middleware", "at home in internal_jobs"),
    (homes, "user_workflows.plan.compile", "import networkx as nx", "at home in user_workflows.plan.graph"),
    (homes, "user_workflows.executions.executions", "from litestar import get", "at home in gateway"),
    (homes, "plugins.egress.client", "import smtplib", "at home in no module"),
    (homes, "plugins.builtin.http", "import websockets.client", "at home in no module"),
    (homes, "plugins.builtin.http", "from redis.asyncio import Redis", "at home in internal_jobs"),
    (connections, "plugins.builtin.http", "await asyncio.open_connection('x', 1)", "calls asyncio.open_connection"),
    (connections, "gateway.auth.tokens", "await loop.create_connection(P, 'x', 1)", "calls loop.create_connection"),
    (connections, "internal_jobs.runner", "await loop.sock_connect(s, a)", "calls loop.sock_connect"),
    (purity, "user_workflows.interpreter.state", "import random", "may not"),
    (purity, "user_workflows.interpreter.state", "from time import monotonic", "may not"),
    (purity, "user_workflows.interpreter.state", "from user_workflows.records.writer import Records", "may not"),
    (purity, "user_workflows.interpreter.state", "from temporalio.client import Client", "may not"),
    (purity, "user_workflows.interpreter.state", "at = datetime.now(UTC)", "calls datetime.now"),
    (purity, "user_workflows.interpreter.state", "at = datetime.datetime.now()", "calls datetime.datetime.now"),
    (purity, "user_workflows.interpreter.state", "async def f():\n    await asyncio.sleep(1)", "calls asyncio.sleep"),
    (purity, "user_workflows.interpreter.state", "from asyncio import sleep", "asyncio.sleep"),
    (purity, "user_workflows.interpreter.state", "for node in set(nodes): pass", "walks a set"),
    (purity, "user_workflows.expressions.lexer", "found = [x for x in {1, 2}]", "walks a set"),
    (purity, "user_workflows.expressions.lexer", "import temporalio.workflow", "may not"),
    (purity, "user_workflows.expressions.lexer", "key = hash(text)", "calls hash"),
    (imports_at_the_top, "gateway.app", "def f():\n    import os", "below the top"),
    (imports_at_the_top, "gateway.app", "try:\n    import fast\nexcept ImportError:\n    fast = None", "below the top"),
    (imports_at_the_top, "gateway.app", "from typing import TYPE_CHECKING", "uses TYPE_CHECKING"),
    (imports_at_the_top, "gateway.app", "import typing\nif typing.TYPE_CHECKING:\n    pass", "uses TYPE_CHECKING"),
    (imports_at_the_top, "gateway.app", "importlib.import_module('httpx')", "nobody can check"),
    (names, "plugins.sdk.utils", "", "says nothing"),
    (environment, "plugins.host.invoke", "import os\nurl = os.environ['URL']", "reads os.environ"),
    (environment, "plugins.host.invoke", "from os import getenv", "reads os.getenv"),
    (tenants, "gateway.routes.jobs", "async with database.across.read() as connection: pass", "across tenants"),
]


@pytest.mark.parametrize(("rule", "module", "source", "expected"), FAULTS)
def test_a_planted_fault_is_found(rule: Rule, module: str, source: str, expected: str) -> None:
    found = list(rule(module, ast.parse(source)))
    assert found, "nothing was found"
    assert all(expected in violation for violation in found), found


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule for rule, *_ in FAULTS} == set(RULES)


def test_nothing_happens_at_import() -> None:
    """Importing every module opens no socket, starts no process or thread, and writes no file."""
    watch = dedent(
        """
        import importlib, sys, threading

        def watch(event, arguments):
            writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
            if writes or event in {"socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.mkdir"}:
                raise SystemExit(f"importing {module} does {event} {arguments}")

        sys.dont_write_bytecode = True
        module = None
        sys.addaudithook(watch)
        for module in sys.argv[1:]:
            importlib.import_module(module)
            if threading.active_count() > 1:
                raise SystemExit(f"importing {module} starts a thread")
        """
    )
    ours = [module for module, _ in modules() if not module.endswith("__main__")]
    done = subprocess.run([sys.executable, "-c", watch, *ours], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
