"""The world outside, in one development process: an SMTP server that keeps all mail, and stock quotes over HTTP.

GET    /mail              every message, newest first
DELETE /mail              empties the mailbox
GET    /quotes/{symbol}   a recorded quote
GET    /health
"""

import asyncio
from pathlib import Path

import uvicorn
from litestar import Litestar, delete, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from gateway.telemetry.logs import configure_logs
from gateway.up.mail import Catcher, Mail, Mailbox
from gateway.up.ports import LOOPBACK
from gateway.up.quotes import Quote, recorded_quotes


async def serve_sandbox(folder: Path, *, smtp_port: int, http_port: int) -> None:
    """Serve on loopback until SIGTERM or Ctrl-C; mail is kept in `folder`."""
    configure_logs("json", "warning", process="sandbox")
    mailbox = Mailbox(folder)
    smtp = await asyncio.get_running_loop().create_server(Catcher(mailbox).protocol, LOOPBACK, smtp_port)
    config = uvicorn.Config(
        sandbox_app(mailbox),
        host=LOOPBACK,
        port=http_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    async with smtp:
        await uvicorn.Server(config).serve()


def sandbox_app(mailbox: Mailbox) -> Litestar:
    quotes = recorded_quotes()

    @get("/mail", sync_to_thread=False)
    def list_mail() -> list[Mail]:
        return mailbox.newest_first()

    @delete("/mail", sync_to_thread=False)
    def empty_mail() -> None:
        mailbox.empty()

    @get("/quotes/{symbol:str}", sync_to_thread=False)
    def show_quote(symbol: FromPath[str]) -> Quote:
        if symbol not in quotes:
            raise NotFoundException(f"no quote of {symbol!r} is recorded; there are {', '.join(quotes)}")
        return quotes[symbol]

    @get("/health", sync_to_thread=False)
    def health() -> dict[str, str]:
        return {"status": "ok"}

    return Litestar([list_mail, empty_mail, show_quote, health], openapi_config=None, logging_config=None)
