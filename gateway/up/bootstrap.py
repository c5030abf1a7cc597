"""What a development installation needs before its first request: a schema, a master key, a tenant and two keys."""

import secrets
from pathlib import Path

import msgspec
from alembic.util import CommandError
from msgspec import Struct
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from gateway.auth.keys import create_key, find_by_key
from gateway.auth.pepper import Pepper
from gateway.errors import SettingsError
from gateway.migrate import migrate
from gateway.up.errors import UpError
from gateway.up.files import write_private
from gateway.up.folder import DataFolder
from plugins.mail.senders import EmailGrant, Senders
from plugins.storage.database import Database, now
from plugins.storage.tenants import create_tenant, find_tenant
from plugins.vault.errors import MasterKeyError, VaultError
from plugins.vault.keys import MasterKey, Vault

TENANT_ID = "ten_dev"
TENANT_NAME = "dev"


class DevKeys(Struct, frozen=True, kw_only=True, rename="camel"):
    """The plain keys of a development installation; they stay in the data folder, readable by its owner alone."""

    admin_key: str
    api_key: str = ""


async def bootstrap(
    folder: DataFolder,
    *,
    database_url: str,
    owner_url: str | None = None,
    master_key_file: Path,
    key_pepper_file: Path,
    admin_key: str | None,
) -> DevKeys:
    """Bring the database up to date and return keys that work; keeps what an earlier start made.

    An `admin_key` that the settings name is taken as it is.

    Raises:
        UpError: the master key or the database cannot be used.
    """
    try:
        MasterKey.load_or_create(master_key_file)
        pepper = _pepper(folder, key_pepper_file)
        await migrate(database_url, owner_url=owner_url)
    except (MasterKeyError, SettingsError) as error:
        raise UpError(str(error)) from None
    except (SQLAlchemyError, CommandError, OSError) as error:
        shown = make_url(database_url).render_as_string(hide_password=True)
        raise UpError(f"The database {shown} cannot be used or migrated: {error}") from error
    file = folder.path / "keys.json"
    known = msgspec.json.decode(file.read_bytes(), type=DevKeys) if file.exists() else None
    database = Database(database_url)
    try:
        api_key = await _owner_key(database, known.api_key if known else "", pepper)
        if known is None:
            # Whoever tries things out sends as whom they like.
            vault = Vault(database, MasterKey.load(master_key_file))
            await Senders(database, vault).grant(TENANT_ID, EmailGrant(allowed=("*",)))
    except VaultError as error:
        raise UpError(f"The master key {master_key_file} does not open {TENANT_NAME}'s keys: {error}") from None
    finally:
        await database.close()
    keys = DevKeys(
        admin_key=admin_key or (known.admin_key if known else f"gw_admin_{secrets.token_urlsafe(32)}"), api_key=api_key
    )
    write_private(file, msgspec.json.format(msgspec.json.encode(keys)))
    return keys


def _pepper(folder: DataFolder, file: Path) -> Pepper:
    """Read the pepper; our own file is made when it is not there yet."""
    if file == folder.key_pepper_file and not file.exists():
        write_private(file, f"{secrets.token_urlsafe(32)}\n".encode())
    return Pepper.load(file)


async def _owner_key(database: Database, known: str, pepper: Pepper) -> str:
    record = await find_by_key(database, known, pepper)
    if record is not None and record.is_valid(now()):
        return known
    exists = await find_tenant(database, TENANT_ID) is not None
    async with database.transaction(TENANT_ID) as connection:
        if not exists:
            await create_tenant(connection, TENANT_NAME, id=TENANT_ID)
        return (await create_key(connection, TENANT_ID, name="gateway up", role="owner", pepper=pepper)).key
