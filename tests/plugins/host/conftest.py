import pytest

from plugins.egress.client import EgressClient
from plugins.host.ledger import Ledger
from plugins.storage.database import Database
from plugins.vault.credentials import Credentials
from plugins.vault.keys import Vault
from tests.lending import lend_to_anybody
from tests.plugins.host.bench import Bench


@pytest.fixture
def ledger(database: Database, vault: Vault) -> Ledger:
    return Ledger(database, vault)


@pytest.fixture
def bench(database: Database, vault: Vault, ledger: Ledger, egress: EgressClient, tenant_id: str) -> Bench:
    return Bench(
        database=database,
        ledger=ledger,
        lender=lend_to_anybody(database, vault),
        credentials=Credentials(database, vault),
        egress=egress,
        tenant_id=tenant_id,
    )
