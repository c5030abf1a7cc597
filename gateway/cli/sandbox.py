"""``gateway sandbox``: the mail catcher and the recorded quotes of `gateway up`, as a process of its own."""

import asyncio
from pathlib import Path

import click

from gateway.up.sandbox import serve_sandbox


@click.command(hidden=True)
@click.option("--mail", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder that keeps mail.")
@click.option("--smtp-port", type=click.IntRange(1, 65_535), required=True)
@click.option("--http-port", type=click.IntRange(1, 65_535), required=True)
def sandbox(mail: Path, smtp_port: int, http_port: int) -> None:
    """Serve a mail catcher and recorded stock quotes on loopback."""
    asyncio.run(serve_sandbox(mail, smtp_port=smtp_port, http_port=http_port))
