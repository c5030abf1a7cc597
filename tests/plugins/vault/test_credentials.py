from typing import Any

import pytest
from sqlalchemy import select

from plugins import ApiKey, Basic, Bearer, BearerCredential, Permanent, Signing, Slot, Smtp
from plugins import Database as DatabaseSlot
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.credentials import Credentials
from plugins.vault.errors import CredentialNotFound, InvalidCredential
from plugins.vault.forms import TYPES
from plugins.vault.keys import MasterKey, Vault
from plugins.vault.lending import Borrower, Lender, Lent
from plugins.vault.oauth.grants import Grants
from plugins.vault.oauth.provider import Provider
from plugins.vault.table import credentials
from tests.lending import lend_to_anybody
from tests.plugins.vault.test_forms import GOOD

AUTH = Bearer("auth")

#: a good token is lent without asking anybody
NOWHERE = Provider(EgressClient(Guard()))


@pytest.fixture
def store(database: Database, vault: Vault) -> Credentials:
    return Credentials(database, vault)


@pytest.fixture
def lender(database: Database, vault: Vault) -> Lender:
    return lend_to_anybody(database, vault, Grants(database, vault, NOWHERE))


async def create_bearer(store: Credentials, tenant_id: str, **options: Any) -> str:
    record = await store.create(tenant_id, type="bearer", name="API", data={"token": "canary-token"}, **options)
    return record.id


async def lend(
    lender: Lender, tenant_id: str, credential_id: str, slot: Slot = AUTH, *, plugin_id: str = "http.request"
) -> Lent:
    borrower = Borrower(tenant_id=tenant_id, plugin_id=plugin_id, step="node")
    return await lender.lend(borrower, slot, credential_id)


@pytest.mark.parametrize("slot", [Bearer("s"), Basic("s"), ApiKey("s"), Smtp("s"), Signing("s"), DatabaseSlot("s")])
async def test_every_type_is_lent_as_it_was_stored(
    store: Credentials, lender: Lender, tenant_id: str, slot: Slot
) -> None:
    (type,) = slot.types
    record = await store.create(tenant_id, type=type, name="n", data=GOOD[type])
    lent = await lend(lender, tenant_id, record.id, slot)
    assert lent.allowed_hosts == ()
    for name, value in GOOD[type].items():
        held = getattr(lent.credential, {"in": "location"}.get(name, name))
        assert (held.reveal() if hasattr(held, "reveal") else held) == value


async def test_a_record_tells_everything_but_the_data(store: Credentials, tenant_id: str) -> None:
    made = await store.create(
        tenant_id,
        type="bearer",
        name=" API ",
        data={"token": "canary-token"},
        allowed_hosts=["API.example.com", "api.example.com"],
        allowed_plugins=["http.request"],
    )
    assert await store.get(tenant_id, made.id) == made
    assert (made.name, made.allowed_hosts, made.allowed_plugins) == ("API", ("api.example.com",), ("http.request",))
    assert "canary" not in repr(made)


async def test_nothing_of_the_tenant_is_stored_in_the_clear(
    database: Database, store: Credentials, tenant_id: str
) -> None:
    await store.create(
        tenant_id, type="bearer", name="canary-name", data={"token": "canary-t"}, allowed_hosts=["canary.example"]
    )
    async with database.across.read() as connection:
        row = (await connection.execute(select(credentials))).one()
    assert "canary" not in repr(row)


async def test_a_refused_credential_names_every_fault_and_is_not_stored(store: Credentials, tenant_id: str) -> None:
    with pytest.raises(InvalidCredential) as caught:
        await store.create(tenant_id, type="basic", name="", data={"username": 1}, allowed_hosts=["a b"])
    assert {fault.pointer for fault in caught.value.faults} == {
        "/data/username",
        "/data/password",
        "/name",
        "/allowedHosts/0",
    }
    assert (await store.list(tenant_id)).items == ()


async def test_lists_are_paged_newest_first(store: Credentials, tenant_id: str) -> None:
    made = [await create_bearer(store, tenant_id) for _ in range(5)]
    seen, cursor = [], None
    for size in (2, 2, 1):
        page = await store.list(tenant_id, limit=2, cursor=cursor)
        assert len(page.items) == size
        seen += [record.id for record in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert seen == sorted(made, reverse=True)


async def test_an_update_changes_only_what_is_given(store: Credentials, lender: Lender, tenant_id: str) -> None:
    id = await create_bearer(store, tenant_id, allowed_hosts=["a.example"])
    changed = await store.update(tenant_id, id, allowed_plugins=["http.request"])
    assert changed == await store.get(tenant_id, id)
    assert (changed.name, changed.allowed_hosts, changed.allowed_plugins) == ("API", ("a.example",), ("http.request",))
    with pytest.raises(InvalidCredential):
        await store.update(tenant_id, id, name="")
    assert (await lend(lender, tenant_id, id)).allowed_hosts == ("a.example",)


async def test_a_rotation_replaces_the_data_and_nothing_else(
    store: Credentials, lender: Lender, tenant_id: str
) -> None:
    id = await create_bearer(store, tenant_id, allowed_hosts=["a.example"])
    rotated = await store.rotate(tenant_id, id, data={"token": "second"})
    assert rotated == await store.get(tenant_id, id)
    assert rotated.rotated_at is not None
    lent = await lend(lender, tenant_id, id)
    assert isinstance(lent.credential, BearerCredential)
    assert lent.credential.token.reveal() == "second"
    with pytest.raises(InvalidCredential):
        await store.rotate(tenant_id, id, data={"token": ""})


async def test_a_deleted_credential_is_gone(store: Credentials, tenant_id: str) -> None:
    id = await create_bearer(store, tenant_id)
    await store.delete(tenant_id, id)
    with pytest.raises(CredentialNotFound):
        await store.get(tenant_id, id)
    with pytest.raises(CredentialNotFound):
        await store.delete(tenant_id, id)


async def test_another_tenants_credential_is_as_if_it_were_absent(
    database: Database, store: Credentials, lender: Lender, tenant_id: str
) -> None:
    id = await create_bearer(store, tenant_id)
    async with database.across.transaction() as connection:
        other = (await create_tenant(connection, "Other")).id
    assert (await store.list(other)).items == ()
    for refused in (
        store.get(other, id),
        store.update(other, id, name="mine"),
        store.rotate(other, id, data={"token": "mine"}),
        store.delete(other, id),
    ):
        with pytest.raises(CredentialNotFound):
            await refused
    with pytest.raises(Permanent) as caught:
        await lend(lender, other, id)
    assert caught.value.type == "credential.missing"
    assert (await store.get(tenant_id, id)).name == "API"


async def test_a_plugin_that_is_not_allowed_is_refused(store: Credentials, lender: Lender, tenant_id: str) -> None:
    id = await create_bearer(store, tenant_id, allowed_plugins=["stock.price"])
    with pytest.raises(Permanent, match=r"stock\.price, not by http\.request") as caught:
        await lend(lender, tenant_id, id)
    assert caught.value.type == "credential.notAllowed"


@pytest.mark.parametrize("type", TYPES)
async def test_every_type_keeps_to_its_plugins_and_hosts(
    store: Credentials, lender: Lender, tenant_id: str, type: str
) -> None:
    """The plugin is refused before anything is lent; the hosts travel with what is lent, and the host holds to them."""
    data = GOOD[type] | ({"accessToken": "a"} if type == "oauth2" else {})
    options: dict[str, Any] = {"allowed_plugins": ["acme.only"], "allowed_hosts": ["a.example:443"]}
    id = (await store.create(tenant_id, type=type, name="n", data=data, **options)).id
    slot = Slot("s", ("bearer" if type == "oauth2" else type,))
    with pytest.raises(Permanent) as caught:
        await lend(lender, tenant_id, id, slot)
    assert caught.value.type == "credential.notAllowed"
    lent = await lend(lender, tenant_id, id, slot, plugin_id="acme.only")
    assert lent.allowed_hosts == ("a.example:443",)


async def test_a_type_that_does_not_fit_the_slot_is_refused(store: Credentials, lender: Lender, tenant_id: str) -> None:
    id = await create_bearer(store, tenant_id)
    with pytest.raises(Permanent, match="takes smtp, and credential 'API' is of type bearer") as caught:
        await lend(lender, tenant_id, id, Smtp("smtp"))
    assert caught.value.type == "credential.wrongType"


async def test_data_moved_from_another_row_does_not_open(
    database: Database, store: Credentials, lender: Lender, tenant_id: str
) -> None:
    one, two = await create_bearer(store, tenant_id), await create_bearer(store, tenant_id)
    async with database.across.transaction() as connection:
        sealed = (
            await connection.execute(select(credentials.c.data_sealed).where(credentials.c.id == one))
        ).scalar_one()
        await connection.execute(credentials.update().where(credentials.c.id == two).values(data_sealed=sealed))
    with pytest.raises(Permanent) as caught:
        await lend(lender, tenant_id, two)
    assert caught.value.type == "credential.unreadable"


async def test_a_lost_master_key_is_told_and_not_a_crash(
    database: Database, store: Credentials, tenant_id: str
) -> None:
    id = await create_bearer(store, tenant_id)
    with pytest.raises(Permanent) as caught:
        await lend(lend_to_anybody(database, Vault(database, MasterKey({1: b"x" * 32}, 1))), tenant_id, id)
    assert caught.value.type == "credential.unreadable"
