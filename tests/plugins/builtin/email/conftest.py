from collections.abc import AsyncIterator

import pytest

from tests.plugins.mail import MailServer, open_mail_server


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    """A real mail server, in the clear."""
    async with open_mail_server() as server:
        yield server
