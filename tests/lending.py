"""A lender whose borrowers have no record to ask: for tests of a plugin call by itself."""

from plugins.storage.database import Database
from plugins.vault.keys import Vault
from plugins.vault.lending import Borrower, Lender
from plugins.vault.oauth.grants import Grants


def lend_to_anybody(database: Database, vault: Vault, grants: Grants | None = None) -> Lender:
    return Lender(database, vault, permit=_nobody_is_refused, grants=grants)


async def _nobody_is_refused(borrower: Borrower, slot: str, credential_id: str) -> str | None:
    return None
