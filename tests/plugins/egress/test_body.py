import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, strategies

from plugins.egress.body import read_body
from plugins.sdk.errors import Permanent


async def in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@given(strategies.binary(max_size=3000), strategies.integers(1, 50), strategies.sampled_from(["gzip", "deflate", ""]))
async def test_a_body_is_the_same_in_whatever_pieces_it_comes(body: bytes, size: int, encoding: str) -> None:
    sent = {"gzip": gzip.compress(body), "deflate": zlib.compress(body), "": body}[encoding]
    assert await read_body(in_pieces(sent, size), encoding=encoding, limit=len(body)) == body
    if body:
        with pytest.raises(Permanent) as caught:
            await read_body(in_pieces(sent, size), encoding=encoding, limit=len(body) - 1)
        assert caught.value.type == "egress.tooLarge"
