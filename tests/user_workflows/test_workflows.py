"""Workflows on SQLite and on PostgreSQL: drafts, versions, activation, and what a crash leaves behind."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update

from plugins.host.registry import Registry
from plugins.storage.database import Database, now
from plugins.storage.tenants import create_tenant
from plugins.vault.credentials import Credentials
from plugins.vault.keys import Vault
from plugins.vault.master import MasterKey
from tests.user_workflows.palette import MAIL, PRICE, REGISTRY, drawn, node
from user_workflows.definition.model import Trigger
from user_workflows.errors import (
    Conflict,
    EngineUnavailable,
    InvalidDefinition,
    InvalidInput,
    NotFound,
    StaleRevision,
)
from user_workflows.workflows.changes import LEASE
from user_workflows.workflows.tables import workflow_triggers, workflow_versions, workflows
from user_workflows.workflows.workflows import Workflow, Workflows

DAILY = {"id": "daily", "type": "cron", "config": {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}}
HOURLY = {"id": "hourly", "type": "cron", "config": {"cron": "0 * * * *"}}


class Recorder:
    """Schedules that are remembered; while `away`, Temporal cannot be reached."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], dict[str, Any]] = {}
        self.away = False
        self.calls = 0
        self.called = asyncio.Event()
        self.pause: asyncio.Event | None = None

    async def put(self, tenant_id: str, workflow_id: str, trigger: Trigger) -> None:
        await self._reach()
        self.held[workflow_id, trigger.id] = trigger.config

    async def remove(self, tenant_id: str, workflow_id: str, trigger_id: str) -> None:
        await self._reach()
        self.held.pop((workflow_id, trigger_id), None)

    def of(self, workflow_id: str) -> set[str]:
        return {trigger_id for held, trigger_id in self.held if held == workflow_id}

    async def _reach(self) -> None:
        self.calls += 1
        self.called.set()
        if self.pause is not None:
            await self.pause.wait()
        if self.away:
            raise EngineUnavailable()


class House:
    """A store with one tenant and its neighbour."""

    def __init__(self, database: Database, master: MasterKey) -> None:
        self.database = database
        self.vault = Vault(database, master)
        self.schedules = Recorder()
        self.credentials = Credentials(database, self.vault)
        self.store = self.open()
        self.tenant = ""
        self.neighbour = ""

    def open(self) -> Workflows:
        """Another process's view of the same database."""
        return Workflows(database=self.database, vault=self.vault, registry=REGISTRY, schedules=self.schedules)

    async def create(self, *triggers: dict[str, Any], **values: Any) -> Workflow:
        definition = drawn(node("a", values=values or {"x": 1}), triggers=list(triggers))
        return await self.store.create(self.tenant, name="Alert", definition=definition)

    async def published(self, *triggers: dict[str, Any]) -> Workflow:
        workflow = await self.create(*triggers)
        await self.store.publish(self.tenant, workflow.id)
        return await self.store.get(self.tenant, workflow.id)

    async def redraw(self, workflow: Workflow, *triggers: dict[str, Any]) -> None:
        definition = drawn(node("b"), triggers=list(triggers))
        await self.store.put_draft(self.tenant, workflow.id, definition)

    async def secret(self) -> str:
        data = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
        return (await self.credentials.create(self.tenant, type="signing", name="hooks", data=data)).id


def webhook(secret: str) -> dict[str, Any]:
    return {"id": "hook", "type": "webhook", "config": {"secret": secret}}


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> House:
    house = House(database, MasterKey.create(tmp_path / "master.json"))
    async with database.across.transaction() as connection:
        house.tenant = (await create_tenant(connection, "one")).id
        house.neighbour = (await create_tenant(connection, "two")).id
    return house


async def test_a_version_is_compiled_once_when_it_is_published(house: House) -> None:
    """Whoever starts it reads the plan that was stored, from its row once and from memory then."""
    workflow = await house.store.create(house.tenant, name="Alert", definition=drawn(PRICE))
    await house.store.publish(house.tenant, workflow.id)
    # With no plugin installed, nothing that names one can be compiled.
    elsewhere = Workflows(database=house.database, vault=house.vault, registry=Registry([]), schedules=house.schedules)
    read: list[str] = []
    event.listen(house.database.engine.sync_engine, "before_cursor_execute", lambda *about: read.append(about[2]))

    first = await elsewhere.plan(house.tenant, workflow.id)
    again = await elsewhere.plan(house.tenant, workflow.id)

    assert [planned.id for planned in first.plan.nodes] == ["price"]
    assert again is first
    assert sum("workflow_versions" in statement for statement in read) == 1


async def test_a_draft_may_hold_anything_and_says_what_is_wrong_with_it(house: House) -> None:
    raw = {"nodes": [{"id": "a", "pluginId": "sotck.price"}], "colour": "red"}
    workflow = await house.store.create(house.tenant, name=" Alert ", definition=raw)
    assert workflow.id.startswith("wf_")
    assert (workflow.name, workflow.draft, workflow.revision) == ("Alert", raw, 1)
    assert (workflow.published_version, workflow.active, workflow.triggers) == (None, False, ())
    assert {fault.code for fault in workflow.faults} == {"plugin.unknown", "definition.unknownKey"}
    assert await house.store.get(house.tenant, workflow.id) == workflow


async def test_a_workflow_needs_a_name_and_an_object(house: House) -> None:
    cases: list[tuple[str, Any, str]] = [("", {}, "/name"), ("  ", {}, "/name"), ("x" * 201, {}, "/name")]
    for name, definition, pointer in [*cases, ("x", [], "/definition")]:
        with pytest.raises(InvalidInput) as caught:
            await house.store.create(house.tenant, name=name, definition=definition)
        assert caught.value.pointer == pointer


async def test_nothing_a_user_wrote_is_stored_in_the_clear(house: House) -> None:
    secret = await house.secret()
    definition = drawn(node("canary_node", values={"x": "canary value"}), triggers=[webhook(secret)])
    workflow = await house.store.create(house.tenant, name="canary name", definition=definition)
    await house.store.publish(house.tenant, workflow.id)
    token = (await house.store.get(house.tenant, workflow.id)).triggers[0].token
    assert token
    async with house.database.across.read() as connection:
        rows = [
            row
            for table in (workflows, workflow_versions, workflow_triggers)
            for row in (await connection.execute(select(table))).all()
        ]
    stored = repr([value for row in rows for value in row])
    assert "canary" not in stored
    assert token not in stored


async def test_every_change_of_the_draft_raises_its_revision(house: House) -> None:
    workflow = await house.create()
    changed = await house.store.put_draft(house.tenant, workflow.id, drawn(PRICE, MAIL), if_match=1)
    assert (changed.revision, changed.draft) == (2, drawn(PRICE, MAIL))
    assert [fault.code for fault in changed.faults] == ["reference.unknownVariable", "reference.notUpstream"]
    assert (await house.store.put_draft(house.tenant, workflow.id, drawn(PRICE))).revision == 3


async def test_a_stale_revision_is_refused_and_changes_nothing(house: House) -> None:
    workflow = await house.create()
    await house.store.put_draft(house.tenant, workflow.id, {"nodes": []})
    with pytest.raises(StaleRevision) as caught:
        await house.store.put_draft(house.tenant, workflow.id, {}, if_match=1)
    assert (caught.value.expected, caught.value.actual) == (1, 2)
    assert (await house.store.get(house.tenant, workflow.id)).draft == {"nodes": []}


async def test_of_many_writers_with_one_revision_one_wins(house: House) -> None:
    workflow = await house.create()
    results = await asyncio.gather(
        *(house.store.put_draft(house.tenant, workflow.id, {"name": str(n)}, if_match=1) for n in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Workflow) for result in results) == 1
    assert sum(isinstance(result, StaleRevision) for result in results) == 7


async def test_a_workflow_can_be_renamed(house: House) -> None:
    workflow = await house.create()
    renamed = await house.store.rename(house.tenant, workflow.id, "Alarm")
    assert (renamed.name, renamed.revision) == ("Alarm", 1)
    with pytest.raises(InvalidInput):
        await house.store.rename(house.tenant, workflow.id, "")


async def test_workflows_are_listed_newest_first_in_pages(house: House) -> None:
    made = [(await house.create()).id for _ in range(5)]
    first = await house.store.list(house.tenant, limit=3)
    rest = await house.store.list(house.tenant, limit=3, cursor=first.next_cursor)
    assert [item.id for item in (*first.items, *rest.items)] == sorted(made, reverse=True)
    assert rest.next_cursor is None
    assert (await house.store.list(house.neighbour)).items == ()


async def test_publishing_makes_immutable_versions(house: House) -> None:
    workflow = await house.create(x=1)
    first = await house.store.publish(house.tenant, workflow.id)
    await house.store.put_draft(house.tenant, workflow.id, drawn(node("b")))
    second = await house.store.publish(house.tenant, workflow.id)
    assert (first.version, second.version) == (1, 2)
    assert (await house.store.get(house.tenant, workflow.id)).published_version == 2
    assert await house.store.version(house.tenant, workflow.id, 1) == first
    page = await house.store.versions(house.tenant, workflow.id, limit=1)
    assert (page.items, page.next_cursor) == ((second,), "2")
    assert (await house.store.versions(house.tenant, workflow.id, cursor="2")).items == (first,)
    with pytest.raises(NotFound):
        await house.store.version(house.tenant, workflow.id, 3)


async def test_publishing_a_faulty_draft_is_refused_with_every_error(house: House) -> None:
    workflow = await house.store.create(house.tenant, name="x", definition={"nodes": [{"id": "1st"}], "colour": 1})
    with pytest.raises(InvalidDefinition) as caught:
        await house.store.publish(house.tenant, workflow.id)
    assert [fault.pointer for fault in caught.value.faults] == ["/nodes/0/id", "/nodes/0/pluginId", "/colour"]
    assert (await house.store.get(house.tenant, workflow.id)).published_version is None
    await house.redraw(workflow)
    assert (await house.store.publish(house.tenant, workflow.id)).version == 1


async def test_plans_are_of_the_published_version_or_of_the_one_asked_for(house: House) -> None:
    workflow = await house.published()
    await house.redraw(workflow)
    await house.store.publish(house.tenant, workflow.id)
    latest = await house.store.plan(house.tenant, workflow.id)
    first = await house.store.plan(house.tenant, workflow.id, 1)
    assert (latest.version, [node.id for node in latest.plan.nodes]) == (2, ["b"])
    assert (first.version, [node.id for node in first.definition.nodes]) == (1, ["a"])
    assert await house.store.plan(house.tenant, workflow.id, 1) is first
    with pytest.raises(NotFound):
        await house.store.plan(house.tenant, workflow.id, 9)


async def test_a_plan_needs_a_published_version(house: House) -> None:
    with pytest.raises(Conflict, match="publish"):
        await house.store.plan(house.tenant, (await house.create()).id)


async def test_rolling_back_makes_an_earlier_version_the_published_one(house: House) -> None:
    workflow = await house.published(DAILY)
    await house.store.activate(house.tenant, workflow.id)
    await house.redraw(workflow, HOURLY)
    await house.store.publish(house.tenant, workflow.id)
    assert house.schedules.of(workflow.id) == {"hourly"}
    assert (await house.store.publish_version(house.tenant, workflow.id, 1)).version == 1
    assert house.schedules.of(workflow.id) == {"daily"}
    assert (await house.store.plan(house.tenant, workflow.id)).version == 1
    with pytest.raises(NotFound):
        await house.store.publish_version(house.tenant, workflow.id, 3)
    await house.store.publish(house.tenant, workflow.id)
    assert (await house.store.get(house.tenant, workflow.id)).published_version == 3


async def test_activation_puts_schedules_and_deactivation_removes_them(house: House) -> None:
    workflow = await house.published(DAILY, HOURLY, {"id": "byhand", "type": "manual"})
    assert workflow.triggers[0].next_fire_at is None
    active = await house.store.activate(house.tenant, workflow.id)
    assert active.active
    assert house.schedules.of(workflow.id) == {"daily", "hourly"}
    assert active.triggers[0].next_fire_at is not None
    assert active.triggers[0].next_fire_at > now()
    assert await house.store.triggers.find_cron(house.tenant, workflow.id, "daily") is not None
    inactive = await house.store.deactivate(house.tenant, workflow.id)
    assert not inactive.active
    assert house.schedules.of(workflow.id) == set()
    assert await house.store.triggers.find_cron(house.tenant, workflow.id, "daily") is None


async def test_activating_twice_is_the_same_as_once(house: House) -> None:
    workflow = await house.published(DAILY)
    await asyncio.gather(*(house.store.activate(house.tenant, workflow.id) for _ in range(4)))
    assert house.schedules.of(workflow.id) == {"daily"}
    await house.store.deactivate(house.tenant, workflow.id)
    assert not (await house.store.deactivate(house.tenant, workflow.id)).active


async def test_nothing_published_is_nothing_to_activate(house: House) -> None:
    with pytest.raises(Conflict, match="publish"):
        await house.store.activate(house.tenant, (await house.create(DAILY)).id)
    assert house.schedules.calls == 0


async def test_publishing_while_active_exchanges_the_schedules(house: House) -> None:
    workflow = await house.published(DAILY)
    await house.store.activate(house.tenant, workflow.id)
    await house.redraw(workflow, DAILY | {"config": {"cron": "0 10 * * *"}}, HOURLY)
    await house.store.publish(house.tenant, workflow.id)
    assert house.schedules.of(workflow.id) == {"daily", "hourly"}
    assert house.schedules.held[workflow.id, "daily"] == {"cron": "0 10 * * *"}


async def test_a_webhook_has_a_token_from_its_publication_and_keeps_it(house: House) -> None:
    workflow = await house.published(webhook(await house.secret()))
    token = workflow.triggers[0].token
    assert token is not None
    assert len(token) >= 43
    assert await house.store.triggers.find_hook(token) is None
    await house.store.activate(house.tenant, workflow.id)
    hook = await house.store.triggers.find_hook(token)
    assert hook is not None
    assert (hook.tenant_id, hook.workflow_id, hook.trigger.id) == (house.tenant, workflow.id, "hook")
    await house.store.publish(house.tenant, workflow.id)
    assert (await house.store.get(house.tenant, workflow.id)).triggers[0].token == token
    await house.redraw(workflow)
    await house.store.publish(house.tenant, workflow.id)
    assert await house.store.triggers.find_hook(token) is None
    await house.store.publish_version(house.tenant, workflow.id, 1)
    assert await house.store.triggers.find_hook(token) is not None
    await house.store.deactivate(house.tenant, workflow.id)
    assert await house.store.triggers.find_hook(token) is None
    assert await house.store.triggers.find_hook("no such token \ud800") is None


async def test_a_webhook_without_a_signing_secret_is_not_activated(house: House) -> None:
    data = {"token": "t"}
    bearer = (await house.credentials.create(house.tenant, type="bearer", name="b", data=data)).id
    for secret, code in (
        ("cred_nowhere", "trigger.secretUnknown"),
        ("cred_\x00", "trigger.secretUnknown"),
        (bearer, "trigger.secretWrongType"),
    ):
        workflow = await house.published(webhook(secret))
        with pytest.raises(InvalidDefinition) as caught:
            await house.store.activate(house.tenant, workflow.id)
        assert [(fault.code, fault.pointer) for fault in caught.value.faults] == [(code, "/triggers/0/config/secret")]
        assert not (await house.store.get(house.tenant, workflow.id)).active


async def test_a_version_that_would_be_lent_nothing_is_not_published(house: House) -> None:
    """Every slot that is bound in vain is named, of a loop's body and of what undoes a node, too."""

    async def keep(tenant_id: str, type: str = "smtp", **options: Any) -> str:
        data: dict[str, Any] = {"host": "mail.example.com", "port": 587} if type == "smtp" else {"token": "t"}
        return (await house.credentials.create(tenant_id, type=type, name="key", data=data, **options)).id

    def mail(id: str, credential: str) -> dict[str, Any]:
        config = {"to": "ann@example.com", "subject": "Hello"}
        return {"id": id, "pluginId": "email.send", "config": config, "credentials": {"smtp": credential}}

    good, bearer = await keep(house.tenant), await keep(house.tenant, "bearer")
    kept = await keep(house.tenant, allowed_plugins=["http.request"])
    undo = {key: value for key, value in mail("", await keep(house.neighbour)).items() if key != "id"}
    loop = node("each", "foreach", items=[1], nodes=[mail("inside", "cred_nowhere")])
    nodes = [
        mail("good", good),
        mail("odd", "cred_\x00"),
        mail("bearer", bearer),
        mail("kept", kept),
        {**mail("off", "cred_nowhere"), "disabled": True},
        loop,
        {**mail("done", good), "compensate": undo},
    ]
    workflow = await house.store.create(house.tenant, name="Mails", definition={"nodes": nodes})
    with pytest.raises(InvalidDefinition) as caught:
        await house.store.publish(house.tenant, workflow.id)
    assert [(fault.code, fault.pointer) for fault in caught.value.faults] == [
        ("credential.unknown", "/nodes/1/credentials/smtp"),
        ("credential.wrongType", "/nodes/2/credentials/smtp"),
        ("credential.notAllowed", "/nodes/3/credentials/smtp"),
        ("credential.unknown", "/nodes/6/compensate/credentials/smtp"),
        ("credential.unknown", "/nodes/5/config/nodes/0/credentials/smtp"),
    ]
    assert (await house.store.get(house.tenant, workflow.id)).published_version is None


async def test_another_tenants_secret_is_no_secret(house: House) -> None:
    house.tenant, house.neighbour = house.neighbour, house.tenant
    foreign = await house.secret()
    house.tenant, house.neighbour = house.neighbour, house.tenant
    workflow = await house.published(webhook(foreign))
    with pytest.raises(InvalidDefinition):
        await house.store.activate(house.tenant, workflow.id)


async def test_an_active_workflow_cannot_lose_its_secret_by_publishing(house: House) -> None:
    workflow = await house.published(DAILY)
    await house.store.activate(house.tenant, workflow.id)
    await house.redraw(workflow, webhook("cred_nowhere"))
    with pytest.raises(InvalidDefinition):
        await house.store.publish(house.tenant, workflow.id)
    assert (await house.store.get(house.tenant, workflow.id)).published_version == 1
    assert house.schedules.of(workflow.id) == {"daily"}


async def test_a_deleted_workflow_is_absent_but_its_executions_keep_their_plan(house: House) -> None:
    workflow = await house.published(DAILY, webhook(await house.secret()))
    await house.store.activate(house.tenant, workflow.id)
    token = workflow.triggers[1].token
    assert token is not None
    await house.store.delete(house.tenant, workflow.id)
    assert house.schedules.of(workflow.id) == set()
    assert await house.store.triggers.find_hook(token) is None
    assert (await house.store.list(house.tenant)).items == ()
    for call in every_call(house.store, house.tenant, workflow.id):
        with pytest.raises(NotFound):
            await call
    assert (await house.store.recorded_plan(house.tenant, workflow.id, 1)).version == 1


async def test_a_foreign_workflow_is_an_absent_one(house: House) -> None:
    workflow = await house.published(DAILY)
    for call in every_call(house.store, house.neighbour, workflow.id):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(NotFound):
        await house.store.recorded_plan(house.neighbour, workflow.id, 1)
    assert await house.store.get(house.tenant, workflow.id) == workflow


async def test_an_id_that_cannot_be_is_an_absent_one(house: House) -> None:
    for id in ("", "wf_1", "wf_\x00", "wf_\ud800", "ü", "x" * 10_000):
        for call in every_call(house.store, house.tenant, id):
            with pytest.raises(NotFound):
                await call


async def test_a_version_that_cannot_be_is_an_absent_one(house: House) -> None:
    workflow = await house.published()
    for version in (-1, 0, 2**31, 2**70):
        for call in (house.store.version, house.store.plan, house.store.publish_version):
            with pytest.raises(NotFound):
                await call(house.tenant, workflow.id, version)
    assert (await house.store.versions(house.tenant, workflow.id, cursor="9" * 30)).items
    with pytest.raises(InvalidInput):
        await house.store.versions(house.tenant, workflow.id, cursor="next")


def every_call(store: Workflows, tenant: str, id: str) -> list[Any]:
    return [
        store.get(tenant, id),
        store.rename(tenant, id, "x"),
        store.put_draft(tenant, id, {}),
        store.put_draft(tenant, id, {}, if_match=1),
        store.publish(tenant, id),
        store.publish_version(tenant, id, 1),
        store.versions(tenant, id),
        store.version(tenant, id, 1),
        store.activate(tenant, id),
        store.deactivate(tenant, id),
        store.plan(tenant, id),
        store.plan(tenant, id, 1),
        store.delete(tenant, id),
    ]


async def test_while_temporal_is_away_nothing_changes_and_settling_repairs_the_schedules(house: House) -> None:
    workflow = await house.published(DAILY)
    house.schedules.away = True
    with pytest.raises(EngineUnavailable):
        await house.store.activate(house.tenant, workflow.id)
    assert not (await house.store.get(house.tenant, workflow.id)).active
    with pytest.raises(EngineUnavailable):
        await house.store.settle()
    house.schedules.away = False
    assert await house.store.settle() == 1
    assert house.schedules.of(workflow.id) == set()
    await house.store.activate(house.tenant, workflow.id)

    house.schedules.away = True
    await house.redraw(workflow, HOURLY)
    for change in (house.store.deactivate, house.store.publish, house.store.delete):
        with pytest.raises(EngineUnavailable):
            await change(house.tenant, workflow.id)
    unchanged = await house.store.get(house.tenant, workflow.id)
    assert (unchanged.active, unchanged.published_version) == (True, 1)
    house.schedules.away = False
    house.schedules.held.clear()
    assert await house.store.settle() == 1
    assert house.schedules.of(workflow.id) == {"daily"}
    assert await house.store.settle() == 0


async def test_without_cron_triggers_temporal_is_not_asked(house: House) -> None:
    house.schedules.away = True
    workflow = await house.published(webhook(await house.secret()))
    await house.store.activate(house.tenant, workflow.id)
    await house.store.deactivate(house.tenant, workflow.id)
    await house.store.delete(house.tenant, workflow.id)
    assert house.schedules.calls == 0


async def test_a_process_that_dies_in_the_middle_leaves_what_another_can_finish(house: House) -> None:
    workflow = await house.published(DAILY)
    house.schedules.pause = asyncio.Event()
    dying = asyncio.create_task(house.store.activate(house.tenant, workflow.id))
    await house.schedules.called.wait()
    other = house.open()
    # It holds the lease: nobody settles what is still under way.
    assert await other.settle() == 0
    dying.cancel()
    await asyncio.wait([dying])
    house.schedules.pause = None
    house.schedules.held[workflow.id, "daily"] = {}
    assert await other.settle() == 1
    assert house.schedules.of(workflow.id) == set()


async def test_a_lease_that_ran_out_is_taken_over_and_its_holder_cannot_commit(house: House) -> None:
    workflow = await house.published(DAILY)
    pause = house.schedules.pause = asyncio.Event()
    frozen = asyncio.create_task(house.store.activate(house.tenant, workflow.id))
    await house.schedules.called.wait()
    async with house.database.across.transaction() as connection:
        long_ago = now() - LEASE
        await connection.execute(update(workflows).values(changing_until=long_ago))
    house.schedules.pause = None
    await house.open().deactivate(house.tenant, workflow.id)
    pause.set()
    with pytest.raises(Conflict):
        await frozen
    assert not (await house.store.get(house.tenant, workflow.id)).active
    assert await house.store.settle() == 1
    assert house.schedules.of(workflow.id) == set()


async def test_changes_of_one_workflow_happen_one_after_the_other(house: House) -> None:
    workflow = await house.published(DAILY)
    other = house.open()
    results = await asyncio.gather(
        *(store.publish(house.tenant, workflow.id) for store in (house.store, other) for _ in range(4)),
        house.store.activate(house.tenant, workflow.id),
        other.deactivate(house.tenant, workflow.id),
        return_exceptions=True,
    )
    assert not [result for result in results if isinstance(result, BaseException) and not isinstance(result, Conflict)]
    final = await house.store.get(house.tenant, workflow.id)
    assert final.published_version == 9
    assert house.schedules.of(workflow.id) == ({"daily"} if final.active else set())
