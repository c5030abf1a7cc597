"""The source of a sync: records behind a real HTTP server, in pages of every kind, and a note of what was asked for."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct, field

from tests.plugins.target import Request, Target, open_target


class Catalogue(Struct, kw_only=True):
    target: Target
    records: list[dict[str, Any]]
    size: int
    #: seconds that each page takes
    pause: float = 0.0
    #: the first record of each page that was asked for
    asked: list[int] = field(default_factory=list)

    @property
    def pages(self) -> int:
        return -(-len(self.records) // self.size)

    async def asks(self, count: int) -> None:
        """Wait until so many pages were asked for."""
        async with asyncio.timeout(60):
            while len(self.asked) < count:
                await asyncio.sleep(0.01)

    def page(self, first: int) -> list[dict[str, Any]]:
        self.asked.append(first)
        return self.records[first : first + self.size]

    async def token(self, request: Request, writer: asyncio.StreamWriter) -> None:
        first = int(request.query.get("after", ["0"])[0])
        await self._answer(
            writer, {"data": {"items": self.page(first)}, "next": self._following(first), **self._total()}
        )

    async def linked(self, request: Request, writer: asyncio.StreamWriter) -> None:
        first = int(request.query.get("from", ["0"])[0])
        following = self._following(first)
        link = None if following is None else f"/linked?from={following}"
        await self._answer(writer, {"items": self.page(first), "links": {"next": link}})

    async def header(self, request: Request, writer: asyncio.StreamWriter) -> None:
        first = int(request.query.get("from", ["0"])[0])
        following = self._following(first)
        last = f'<{self.target.url}/header?from=0>; rel="first"'
        link = last if following is None else f'{last}, <{self.target.url}/header?from={following}>; rel="next"'
        await self._answer(writer, self.page(first), link=link)

    async def numbered(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, self.page((int(request.query.get("page", ["1"])[0]) - 1) * self.size))

    async def counted(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await self._answer(writer, self.page(int(request.query.get("offset", ["0"])[0])))

    def _following(self, first: int) -> int | None:
        following = first + self.size
        return following if following < len(self.records) else None

    def _total(self) -> dict[str, int]:
        return {"total": len(self.records)}

    async def _answer(self, writer: asyncio.StreamWriter, body: Any, **headers: str) -> None:
        await asyncio.sleep(self.pause)
        content = json.dumps(body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n{more}content-length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)


@asynccontextmanager
async def open_catalogue(count: int, *, size: int, pause: float = 0.0) -> AsyncIterator[Catalogue]:
    records = [{"id": f"sku-{number:04}", "name": f"Größe {number}", "price": number / 4} for number in range(count)]
    async with open_target() as target:
        catalogue = Catalogue(target=target, records=records, size=size, pause=pause)
        for name in ("token", "linked", "header", "numbered", "counted"):
            target.script(f"/{name}", getattr(catalogue, name))
        yield catalogue
