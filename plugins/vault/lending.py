"""Lends a credential to one call: the one function that decrypts, and all that has to hold before it does."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from msgspec import Struct
from sqlalchemy.engine import Row

from plugins.sdk.conform import Nonconforming
from plugins.sdk.credential import BearerCredential, Credential, Secret, Slot
from plugins.sdk.errors import Permanent
from plugins.storage.database import Database
from plugins.storage.last_used import LastUsed
from plugins.vault.credentials import CredentialRecord, open_record
from plugins.vault.errors import CredentialNotFound, VaultError
from plugins.vault.forms import decode_data
from plugins.vault.keys import Vault
from plugins.vault.oauth.client import OAuth2Client
from plugins.vault.oauth.grants import Grants, Holder
from plugins.vault.table import data_place, find_credential


class Borrower(Struct, frozen=True, kw_only=True):
    """Who asks for a credential: a step of an execution, a job, or a trigger that checks a signature."""

    #: from the principal; the credential must be the same tenant's
    tenant_id: str
    #: the plugin that will see it
    plugin_id: str
    #: the node, with item and round numbers inside loops; the job type in a job; the trigger
    step: str
    execution_id: str | None = None
    job_id: str | None = None
    trigger_id: str | None = None


#: Says why a borrower may not have the credential (its id) in a slot (its name); ``None``: it may.
Permit = Callable[[Borrower, str, str], Awaitable[str | None]]


class Lent(Struct, frozen=True, kw_only=True):
    """A credential for the length of one call."""

    credential: Credential
    #: the only hosts that it may be sent to; empty: any
    allowed_hosts: tuple[str, ...]
    #: of a token that can be replaced: another than one that a server refused, ``None`` where that would not help
    replace: Callable[[Secret], Awaitable[Secret | None]] | None = None


class Lender:
    """Lends credentials.

    Args:
        database: holds them.
        vault: holds their keys.
        permit: asks the record of the borrower, which is not the vault's, whether it binds this credential still.
        grants: renews the tokens of OAuth 2.0; without it credentials of that type are not lent.
        last_used: is told of each use.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        *,
        permit: Permit,
        grants: Grants | None = None,
        last_used: LastUsed | None = None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._permit = permit
        self._grants = grants
        self._last_used = last_used

    async def lend(self, borrower: Borrower, slot: Slot, credential_id: str) -> Lent:
        """Return the decrypted credential for one call.

        Its data is decrypted when tenant, plugin, type, and execution and node (or job, or trigger) have been found to
        be those that it is for. The destination is the caller's to hold to: `Lent.allowed_hosts`. A credential of type
        ``oauth2`` is lent as a bearer token, renewed if it has ended.

        Raises:
            Permanent: ``credential.missing``, ``credential.notAllowed``, ``credential.wrongType`` or
                ``credential.unreadable``; and of ``oauth2`` what `Grants.access` raises.
            Transient: of ``oauth2``, as `Grants.access`.
        """
        row, record = await self._find(borrower, slot, credential_id)
        _require_fitting(record, borrower, slot)
        refusal = await self._permit(borrower, slot.name, credential_id)
        if refusal is not None:
            raise Permanent(
                f"credential {record.name!r} is not lent to {borrower.plugin_id}: {refusal}",
                type="credential.notAllowed",
            )
        credential = await self._open(row, record)
        if self._last_used is not None:
            self._last_used.note(borrower.tenant_id, credential_id)
        if isinstance(credential, OAuth2Client):
            return await self._lend_token(row, record, credential)
        return Lent(credential=credential, allowed_hosts=record.allowed_hosts)

    async def _find(self, borrower: Borrower, slot: Slot, credential_id: str) -> tuple[Row[Any], CredentialRecord]:
        try:
            row = await find_credential(self._database, borrower.tenant_id, credential_id)
            return row, open_record(await self._vault.sealer(borrower.tenant_id), row)
        except CredentialNotFound:
            raise Permanent(
                f"slot {slot.name!r} of {borrower.plugin_id} is bound to {credential_id!r}, and there is no such "
                "credential; bind another",
                type="credential.missing",
            ) from None
        except VaultError as error:
            raise Permanent(
                f"the credential in slot {slot.name!r} cannot be read: {error}", type="credential.unreadable"
            ) from None

    async def _open(self, row: Row[Any], record: CredentialRecord) -> Credential | OAuth2Client:
        try:
            sealer = await self._vault.sealer(row.tenant_id)
            data = sealer.open_json(row.data_sealed, data_place(record.id))
            credential: Credential | OAuth2Client = decode_data(record.type, data)
        except VaultError as error:
            raise Permanent(
                f"credential {record.name!r} cannot be read: {error}", type="credential.unreadable"
            ) from None
        except Nonconforming:
            raise Permanent(
                f"credential {record.name!r} is not of the form that {record.type} credentials have; rotate it",
                type="credential.unreadable",
            ) from None
        return credential

    async def _lend_token(self, row: Row[Any], record: CredentialRecord, client: OAuth2Client) -> Lent:
        if self._grants is None:
            raise Permanent(
                f"this process renews no tokens, and so cannot use credential {record.name!r}",
                type="credential.unsupported",
            )
        holder = Holder(tenant_id=row.tenant_id, credential_id=record.id, name=record.name, client=client)
        token = await self._grants.access(holder, row)
        return Lent(
            credential=BearerCredential(token=token),
            allowed_hosts=record.allowed_hosts,
            replace=partial(self._grants.replace, holder),
        )


def _require_fitting(record: CredentialRecord, borrower: Borrower, slot: Slot) -> None:
    if record.allowed_plugins and borrower.plugin_id not in record.allowed_plugins:
        raise Permanent(
            f"credential {record.name!r} may be used by {', '.join(record.allowed_plugins)}, "
            f"not by {borrower.plugin_id}",
            type="credential.notAllowed",
        )
    if not slot.takes(record.type):
        raise Permanent(
            f"slot {slot.name!r} of {borrower.plugin_id} takes {' or '.join(slot.types)}, "
            f"and credential {record.name!r} is of type {record.type}",
            type="credential.wrongType",
        )
