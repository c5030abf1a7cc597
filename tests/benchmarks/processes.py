"""Processes that are measured, beside the one that measures."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def processes(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str], log: Path
) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Start a process for each command, with additions to the environment; they are killed at the end."""
    started: list[asyncio.subprocess.Process] = []
    try:
        with log.open("wb") as output:
            for command in commands:
                started.append(
                    await asyncio.create_subprocess_exec(
                        *command, stdout=output, stderr=output, env=os.environ | environment
                    )
                )
        yield started
    finally:
        for process in started:
            process.kill()
            await process.wait()
