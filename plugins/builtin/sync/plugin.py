"""`data.sync`: copies records from a source to a sink, page by page, and goes on where it was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol

import msgspec

from plugins import Context, Database, Permanent, Slot, Transient, plugin
from plugins.builtin.sync.http_sink import HttpWriter
from plugins.builtin.sync.model import HttpSink, SqlSink, Sync, Synced
from plugins.builtin.sync.patience import patiently
from plugins.builtin.sync.postgres import open_postgres
from plugins.builtin.sync.progress import Progress
from plugins.builtin.sync.source import Page, fetch_page

_AUTH = ("bearer", "basic", "apiKey")


class Writer(Protocol):
    async def write(self, page: int, records: list[Any]) -> None:
        """Write the records of a page so that writing them again changes nothing."""


@plugin(
    "data.sync",
    version="1.0.0",
    effect="idempotent",
    credentials=[
        Slot("auth", _AUTH, optional=True),
        Slot("sinkAuth", _AUTH, optional=True),
        Database("database", optional=True),
    ],
)
async def data_sync(config: Sync, ctx: Context) -> Synced:
    """Copy records from an HTTP API to a table or to another API, page by page.

    After each page that is written it keeps where it is: whatever stops it, its next attempt goes on from there. A
    page may be written twice, to the same effect. Give it time: a timeout is of one attempt.
    """
    _check(config.sink)
    progress = msgspec.convert(ctx.checkpoint or {}, Progress)
    async with _open(config.sink, ctx) as writer:
        while True:
            started = asyncio.get_running_loop().time()
            if ctx.cancelled:
                raise Transient("stopped between two pages, as asked", type="sync.stopped", effect="none")
            page = await patiently(partial(fetch_page, config.source, progress.cursor, ctx), ctx)
            await writer.write(progress.pages + 1, page.records)
            if page.next is None:
                return Synced(pages=progress.pages + 1, records=progress.records + len(page.records), complete=True)
            progress = progress.after(records=len(page.records), next=page.next, trait=page.trait)
            await ctx.save_checkpoint(msgspec.to_builtins(progress))
            ctx.heartbeat(_told(progress, page))
            if progress.pages >= config.max_pages:
                return Synced(pages=progress.pages, records=progress.records, complete=False, cursor=progress.cursor)
            if config.rate_per_second is not None:
                passed = asyncio.get_running_loop().time() - started
                await asyncio.sleep(max(1 / config.rate_per_second - passed, 0.0))


def _check(sink: SqlSink | HttpSink) -> None:
    if isinstance(sink, SqlSink) and (unknown := [column for column in sink.key if column not in sink.columns]):
        raise Permanent(
            f"/sink/key names {unknown[0]!r}, which is none of the /sink/columns; say where its value stands",
            type="config.invalid",
        )


@asynccontextmanager
async def _open(sink: SqlSink | HttpSink, ctx: Context) -> AsyncIterator[Writer]:
    if isinstance(sink, HttpSink):
        yield HttpWriter(sink, ctx)
        return
    async with open_postgres(sink, ctx) as writer:
        yield writer


def _told(progress: Progress, page: Page) -> dict[str, Any]:
    told: dict[str, Any] = {"message": f"{progress.pages:,} pages, {progress.records:,} records"}
    if page.total:
        told["percent"] = min(round(100 * progress.records / page.total, 1), 100.0)
    return told
