"""``gateway vault``: the master key goes over to a new version, and the old one leaves."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault

Invoke = Any


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/gateway.db"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "master.key"


@pytest.fixture
def invoke(url: str, file: Path) -> Invoke:
    environment = {
        "GATEWAY_DATABASE_URL": url,
        "GATEWAY_REDIS_URL": "redis://127.0.0.1:1",
        "GATEWAY_MASTER_KEY_FILE": str(file),
    }

    def run(*arguments: str) -> Result:
        return CliRunner(env=environment).invoke(main, arguments)

    for step in (["master-key"], ["migrate"]):
        assert run(*step).exit_code == 0
    return run


def seal(url: str, file: Path, count: int) -> None:
    """Make tenants, each with a data key."""

    async def make() -> None:
        database = Database(url)
        vault = Vault(database, MasterKey.load(file))
        for number in range(count):
            async with database.transaction(f"ten_{number}") as connection:
                await create_tenant(connection, "Acme", id=f"ten_{number}")
            await vault.sealer(f"ten_{number}")
        await database.close()

    asyncio.run(make())


def wraps(invoke: Invoke) -> dict[int, int]:
    found = json.loads(invoke("vault", "status", "--json").stdout)
    return {each["version"]: each["wraps"] for each in found}


def test_a_master_key_is_rotated_and_the_old_version_forgotten(invoke: Invoke, url: str, file: Path) -> None:
    seal(url, file, 3)
    assert wraps(invoke) == {1: 3}
    rotated = invoke("vault", "rotate-master")
    assert rotated.exit_code == 0, rotated.output
    assert wraps(invoke) == {1: 0, 2: 3}
    assert "current" in invoke("vault", "status").output
    assert invoke("vault", "forget-master", "2", "--yes").exit_code == 1
    assert invoke("vault", "forget-master", "1", "--yes").exit_code == 0
    assert MasterKey.load(file).versions == (2,)
    assert wraps(invoke) == {2: 3}


def test_a_version_that_wraps_something_is_not_forgotten(invoke: Invoke, url: str, file: Path) -> None:
    seal(url, file, 2)
    assert invoke("vault", "rotate-master", "--prepare").exit_code == 0
    assert wraps(invoke) == {1: 2, 2: 0}
    master = MasterKey.load(file)
    master.make_current(2)
    refused = invoke("vault", "forget-master", "1", "--yes")
    assert (refused.exit_code, "wraps 2 data keys" in refused.output) == (1, True)


def test_a_prepared_and_an_interrupted_rotation_go_on_and_add_no_further_version(
    invoke: Invoke, url: str, file: Path
) -> None:
    seal(url, file, 2)
    for _ in range(2):
        assert invoke("vault", "rotate-master", "--prepare").exit_code == 0
        assert MasterKey.load(file).versions == (1, 2)
    assert MasterKey.load(file).current == 1
    # As a process leaves it that died after the first of its steps.
    MasterKey.load(file).make_current(2)
    assert invoke("vault", "rotate-master").exit_code == 0
    assert wraps(invoke) == {1: 0, 2: 2}
    assert invoke("vault", "rotate-master").exit_code == 0
    assert wraps(invoke) == {1: 0, 2: 0, 3: 2}


def test_the_master_key_of_another_installation_is_said_to_be_one(invoke: Invoke, url: str, file: Path) -> None:
    seal(url, file, 1)
    file.unlink()
    MasterKey.create(file)
    refused = invoke("vault", "rotate-master")
    assert (refused.exit_code, "is it the master key file" in refused.output) == (1, True)
    assert MasterKey.load(file).versions == (1,)
