import asyncio
from pathlib import Path

from gateway.up.ports import Ports, free_port, is_free


async def test_a_port_is_found_again_while_it_is_free_and_replaced_when_it_is_not(tmp_path: Path) -> None:
    ports = Ports(tmp_path / "ports.json")
    valkey, temporal = await ports.of("valkey"), await ports.of("temporal")
    assert valkey != temporal
    again = Ports(tmp_path / "ports.json")
    assert await again.of("valkey") == valkey
    async with await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", valkey):
        assert not await is_free("127.0.0.1", valkey)
        other = await again.of("valkey")
    assert other not in (valkey, temporal)
    assert await Ports(tmp_path / "ports.json").of("valkey") == other


async def test_a_free_port_is_free() -> None:
    assert await is_free("127.0.0.1", await free_port())
