"""No hostile URL, answer of a name server or redirect reaches an address that is not allowed."""

from collections.abc import Sequence

import pytest

from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.sdk.errors import PluginError
from tests.figures import Figures
from tests.plugins.egress.corpus import ANSWERS, resolve, urls, watched
from tests.plugins.target import Target, open_target


async def reached(client: EgressClient, url: str) -> str | None:
    """Return a line that says how `url` got through, or ``None``."""
    with watched() as connections:
        try:
            response = await client.request("GET", url, timeout=2)
        except PluginError as error:
            return f"{url!r} connected to {connections} before {error.type}" if connections else None
    return f"{url!r} was answered with {response.status} from {connections}"


async def test_no_hostile_url_connects_anywhere(figures: Figures) -> None:
    """Every URL and every name of the corpus is refused before a single connection is tried."""
    async with open_target("0.0.0.0") as target:
        hostile = urls(target.port)
        client = EgressClient(Guard(), resolve=resolve)
        leaks = [line for url in hostile if (line := await reached(client, url)) is not None]
        await client.close()
        assert target.requests == []
    figures("T21", tried=len(hostile), let_through=len(leaks))
    assert leaks == []
    assert len(set(hostile)) >= 80


async def test_plain_sockets_are_guarded_alike() -> None:
    async with open_target("0.0.0.0") as target:
        client = EgressClient(Guard(), resolve=resolve)
        for host in [*ANSWERS, "127.0.0.1", "127.1", "0x7f.1", "::1", "::ffff:127.0.0.1", "fe80::1%lo", "a b", ""]:
            with watched() as connections, pytest.raises(PluginError):
                await client.connect(host, target.port, timeout=2)
            assert connections == []
        await client.close()
        assert target.connections == 0


async def test_the_ground_truth_sees_an_allowed_connection(target: Target, egress: EgressClient) -> None:
    target.answer("/", body=b"ok")
    with watched() as connections:
        assert (await egress.request("GET", target.url)).content == b"ok"
    assert connections == [("127.0.0.1", target.port)]


async def test_a_name_that_changes_its_answer_is_resolved_once_per_connection(target: Target) -> None:
    """What was checked is what is connected to: the second answer of a rebinding name is never asked for."""
    answers = iter([["127.0.0.1"], ["127.0.0.9"], ["127.0.0.9"]])
    asked = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return next(answers)

    client = EgressClient(Guard(allow=["127.0.0.1/32"]), resolve=rebinding)
    target.answer("/", body=b"ok", connection="close")
    with watched() as connections:
        await client.request("GET", f"http://rebinding.test:{target.port}/")
    assert asked == ["rebinding.test"]
    assert connections == [("127.0.0.1", target.port)]
    with watched() as connections, pytest.raises(PluginError, match="rebinding") as caught:
        await client.request("GET", f"http://rebinding.test:{target.port}/")
    assert caught.value.type == "egress.forbidden"
    assert connections == []
    await client.close()


REDIRECTS = """
http://127.0.0.1:{closed}/
http://localhost:{closed}/
//127.0.0.1:{closed}/
http://[::1]:{closed}/
http://0x7f.1:{closed}/
http://2130706433:{closed}/
http://loopback.test:{closed}/
http://mixed-last.test:{closed}/
http://169.254.169.254/latest/meta-data/
http://user@127.0.0.1:{closed}/
http:\\\\127.0.0.1:{closed}/
\\\\127.0.0.1:{closed}/
file:///etc/passwd
gopher://127.0.0.1:{closed}/
http://[64:ff9b::7f00:1]:{closed}/
http://front.test:{closed}/
http://127.0.0.1:{closed}\\@front.test/
""".strip().split("\n")


@pytest.mark.parametrize("location", REDIRECTS)
async def test_a_redirect_is_checked_like_the_first_address(target: Target, location: str) -> None:
    async def front(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"] if host == "front.test" else await resolve(host, port)

    client = EgressClient(Guard(allow=[f"front.test:{target.port}"]), resolve=front)
    async with open_target() as closed:
        for status in (301, 302, 303, 307, 308):
            target.answer(f"/{status}", status, location=location.replace("{closed}", str(closed.port)))
            with watched() as connections, pytest.raises(PluginError):
                await client.request("GET", f"http://front.test:{target.port}/{status}", timeout=2)
            assert connections == [("127.0.0.1", target.port)]
        assert closed.connections == 0
    await client.close()
