"""What an operator denies stays closed to everything that this process sends."""

import pytest
from msgspec import structs

from gateway.compose import open_platform
from gateway.settings import Settings
from plugins import Permanent
from tests.plugins.target import open_target

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


async def test_a_denied_host_is_closed_though_it_is_allowed(settings: Settings) -> None:
    async with open_target() as target:
        target.answer("/", body=b"hello")
        allowed = structs.replace(settings, egress_allow=("127.0.0.0/8",))
        async with open_platform(allowed) as platform:
            assert (await platform.egress.request("GET", target.url)).content == b"hello"
        denied = structs.replace(allowed, egress_deny=(f"127.0.0.1:{target.port}",))
        async with open_platform(denied) as platform:
            with pytest.raises(Permanent, match="denies") as caught:
                await platform.egress.request("GET", target.url)
        assert caught.value.type == "egress.forbidden"
        assert len(target.requests) == 1
