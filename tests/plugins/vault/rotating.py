"""A process that rotates until it is done, or killed; a line after each batch lets a test kill it half-way.

``python -m tests.plugins.vault.rotating URL MASTER TRUST TENANT``
"""

import asyncio
import sys
from pathlib import Path

# Importing the credentials makes them known to renewals.
import plugins.vault.table  # noqa: F401
from plugins.storage.database import Database
from plugins.vault import renewal
from plugins.vault.keys import MasterKey, Vault


async def main(url: str, master_key: Path, trust: float, tenant_id: str) -> None:
    renewal.BATCH = 5
    database = Database(url)
    vault = Vault(database, MasterKey.load(master_key), trust=trust)
    while await vault.rewrap(5):
        print("wrapped", flush=True)
    await renewal.Renewal(database, vault).renew(tenant_id, on_progress=lambda count: print("renewed", flush=True))
    await database.close()
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
