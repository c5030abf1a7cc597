"""Records sent to an HTTP API."""

import hashlib
from functools import partial
from typing import Any

import msgspec

from plugins import Context
from plugins.builtin.authentication import authentication
from plugins.builtin.status import status_error
from plugins.builtin.sync.model import HttpSink
from plugins.builtin.sync.patience import patiently


class HttpWriter:
    """Sends the records of a page in batches, each under a key that is the same whenever it is sent again."""

    def __init__(self, sink: HttpSink, ctx: Context) -> None:
        self._sink = sink
        self._ctx = ctx

    async def write(self, page: int, records: list[Any]) -> None:
        size = self._sink.batch
        for first in range(0, len(records), size):
            batch = records[first : first + size]
            await patiently(partial(self._send, page, first, batch), self._ctx)

    async def _send(self, page: int, first: int, batch: list[Any]) -> None:
        sink, ctx = self._sink, self._ctx
        body = msgspec.json.encode(self._body(batch))
        # Of the content, too: a page that changed before it was asked for again is something else.
        key = hashlib.sha256(f"{ctx.idempotency_key}\0{page}\0{first}\0".encode() + body).hexdigest()
        headers = {name.lower(): value for name, value in sink.headers.items()}
        auth_headers, params = authentication(ctx, "sinkAuth")
        response = await ctx.http_for("sinkAuth").request(
            sink.method,
            sink.url,
            headers={"content-type": "application/json", "idempotency-key": key} | headers | auth_headers,
            params=params,
            content=body,
        )
        if not 200 <= response.status < 300:
            raise status_error(response)

    def _body(self, batch: list[Any]) -> Any:
        if self._sink.wrap is not None:
            return {self._sink.wrap: batch}
        return batch[0] if self._sink.batch == 1 else batch
