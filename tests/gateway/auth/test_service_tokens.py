"""Service tokens: one permission, one tenant, one minute."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.auth import service_tokens
from gateway.auth.service_tokens import ServiceTokens
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault


@pytest.fixture
async def tokens(database: Database, tmp_path: Path) -> ServiceTokens:
    return ServiceTokens(Vault(database, MasterKey.create(tmp_path / "master.key")))


@pytest.fixture
async def tenants(database: Database) -> tuple[str, str]:
    async with database.across.transaction() as connection:
        return (await create_tenant(connection, "Acme")).id, (await create_tenant(connection, "Other")).id


async def test_a_token_is_good_for_one_thing_in_one_tenant(tokens: ServiceTokens, tenants: tuple[str, str]) -> None:
    token = await tokens.mint(tenants[0], "executions.start", name="internal-jobs")
    found = await tokens.redeem(token)
    assert found is not None
    assert found.principal.tenant_id == tenants[0]
    assert found.principal.permissions == {"executions.start"}
    assert found.principal.id == "service:internal-jobs"


async def test_a_token_says_nothing_for_another_tenant(tokens: ServiceTokens, tenants: tuple[str, str]) -> None:
    token = await tokens.mint(tenants[0], "executions.start", name="internal-jobs")
    assert await tokens.redeem(token.replace(tenants[0], tenants[1])) is None


@pytest.mark.parametrize("damage", [lambda text: text[:-2], lambda text: text + "A", lambda text: "gws_nobody.AAAA"])
async def test_what_is_not_minted_here_is_nothing(
    tokens: ServiceTokens, tenants: tuple[str, str], damage: Callable[[str], str]
) -> None:
    assert await tokens.redeem(damage(await tokens.mint(tenants[0], "executions.start", name="x"))) is None


async def test_a_token_ends_by_itself(
    tokens: ServiceTokens, tenants: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_tokens, "LIFETIME", timedelta(seconds=-1))
    assert await tokens.redeem(await tokens.mint(tenants[0], "executions.start", name="x")) is None


async def test_no_token_can_be_minted_for_more(tokens: ServiceTokens, tenants: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="no service"):
        await tokens.mint(tenants[0], "keys.write", name="x")
