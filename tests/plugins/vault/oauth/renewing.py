"""A worker that renews a token and is killed over it: ``python -m tests.plugins.vault.oauth.renewing …``."""

import asyncio
import os
import signal
import sys

from plugins import Bearer
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.storage.database import Database
from plugins.vault.keys import MasterKey, Vault
from plugins.vault.lending import Borrower
from plugins.vault.oauth import grants
from plugins.vault.oauth.client import OAuth2Client
from plugins.vault.oauth.grant import Grant
from plugins.vault.oauth.provider import Provider
from tests.lending import lend_to_anybody


class Deadly(Provider):
    """Ends the process before it asks, or when it has been answered."""

    def __init__(self, egress: EgressClient, moment: str) -> None:
        super().__init__(egress)
        self._moment = moment

    async def renewed(self, client: OAuth2Client, grant: Grant) -> Grant:
        if self._moment == "answered":
            await super().renewed(client, grant)
        print(self._moment, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("it lives on")


async def main(url: str, tenant_id: str, credential_id: str, moment: str) -> None:
    grants.LEASE = 1.0
    database = Database(url)
    vault = Vault(database, MasterKey({1: bytes(range(32))}, 1))
    provider = Deadly(EgressClient(Guard(allow=["127.0.0.0/8"])), moment)
    lender = lend_to_anybody(database, vault, grants.Grants(database, vault, provider))
    borrower = Borrower(tenant_id=tenant_id, plugin_id="http.request", step="node")
    await lender.lend(borrower, Bearer("auth"), credential_id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
