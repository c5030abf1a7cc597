"""The watch over the suite's connections sees what it is there to see."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct

from plugins import Context, Permanent, plugin
from plugins.testing import run
from tests import past_the_guard
from tests.plugins.target import open_target


class Config(Struct):
    port: int


async def by_asyncio(config: Config, ctx: Context) -> None:
    await asyncio.open_connection("127.0.0.1", config.port)


async def in_a_task(config: Config, ctx: Context) -> None:
    await asyncio.create_task(by_asyncio(config, ctx))


def by_a_socket(config: Config, ctx: Context) -> None:
    socket.create_connection(("127.0.0.1", config.port)).close()


def by_a_path(config: Config, ctx: Context) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.connect("/var/run/docker.sock")


@pytest.mark.parametrize("function", [by_asyncio, in_a_task, by_a_socket, by_a_path])
async def test_a_plugin_that_connects_by_itself_is_caught(function: Callable[[Config, Context], Any]) -> None:
    async with open_target() as target:
        past = plugin("test.past", version="1.0.0", effect="read")(function)
        with pytest.raises(Permanent, match="plugin"):
            await run(past, {"port": target.port})
        assert target.connections == 0
    assert len(past_the_guard.violations) == 1
    past_the_guard.violations.clear()


async def test_a_plugin_that_asks_the_guard_is_not() -> None:
    async def ask(config: Config, ctx: Context) -> int:
        return (await ctx.http.request("GET", f"http://127.0.0.1:{config.port}/")).status

    async with open_target() as target:
        outcome = await run(plugin("test.asks", version="1.0.0", effect="read")(ask), {"port": target.port})
    assert outcome.output == 404


def test_nothing_leaves_this_machine() -> None:
    with socket.socket() as opened, pytest.raises(past_the_guard.PastTheGuard, match="leaves this machine"):
        opened.connect(("192.0.2.1", 80))
    past_the_guard.violations.clear()
