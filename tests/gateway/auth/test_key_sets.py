"""Sixteen minutes of an issuer: a flood of unknown keys, an outage of ten minutes and a rotation in it (T26).

The minutes are those of a clock that the test winds; look-ups, fetches and answers are real: a thousand unknown keys in
each of its seconds, some of them at once with those that valid tokens name. A valid token is refused when its key is
not found; that found keys let tokens in, and what else may be wrong with one, is `test_tokens`'s.
"""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.auth import key_sets
from gateway.auth.key_sets import KeySet
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from tests.figures import Figures
from tests.gateway.auth.test_tokens import jwk
from tests.plugins.target import Request, open_target

OLD, NEW = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
MINUTE = 60.0
MINUTES = 16
#: of the flood, a second
UNKNOWN, AT_ONCE = 1_000, 20


async def test_an_issuer_is_asked_twice_a_minute_at_most_whatever_happens(
    monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(key_sets, "time", SimpleNamespace(monotonic=lambda: clock.now))
    fetches: list[float] = []
    refused: list[float] = []
    async with open_target() as target:
        published: dict[str, Any] = {"keys": [jwk(OLD, "old")]}

        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            fetches.append(clock.now)
            body = msgspec.json.encode(published)
            # Down from the second minute to the twelfth.
            status = 503 if 2 * MINUTE <= clock.now < 12 * MINUTE else 200
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)

        target.script("/keys", answer)
        egress = EgressClient(Guard(allow=[f"127.0.0.1:{target.port}"]))
        keys = KeySet("https://id.example.com", f"{target.url}/keys", egress)
        asked = 0
        for second in range(MINUTES * 60):
            clock.now = float(second)
            if second == 12.5 * MINUTE:
                # Published before it signs, as issuers do.
                published["keys"].append(jwk(NEW, "new"))
            flood = [keys.find(f"unknown-{second}-{number}") for number in range(AT_ONCE)]
            valid = ["old"] if second < 13.5 * MINUTE else ["old", "new"]
            found = await asyncio.gather(*(keys.find(id) for id in valid), *flood)
            asked += len(found)
            refused += [clock.now for key in found[: len(valid)] if key is None]
            assert set(found[len(valid) :]) == {None}
            for number in range(AT_ONCE, UNKNOWN):
                assert await keys.find(f"unknown-{second}-{number}") is None
            asked += UNKNOWN - AT_ONCE
        await egress.close()
    most = max(sum(start <= moment < start + MINUTE for moment in fetches) for start in range(MINUTES * 60))
    figures("T26", lookups=asked, minutes=MINUTES, fetches=len(fetches), most_a_minute=most, refused=len(refused))
    assert refused == []
    assert most <= 2
    assert len(fetches) > MINUTES
    assert asked > MINUTES * 60 * UNKNOWN


async def test_a_thousand_unknown_keys_at_once_are_one_fetch() -> None:
    async with open_target() as target:
        target.answer("/keys", body={"keys": [jwk(OLD, "old")]})
        egress = EgressClient(Guard(allow=[f"127.0.0.1:{target.port}"]))
        keys = KeySet("https://id.example.com", f"{target.url}/keys", egress)
        found = await asyncio.gather(*(keys.find(f"x{number}") for number in range(1_000)), keys.find("old"))
        await egress.close()
        assert (len(target.requests), found[-1] is None, set(found[:-1])) == (1, False, {None})
