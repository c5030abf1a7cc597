"""``gateway serve`` and ``worker``: one process each, as production runs them."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
from uvicorn.loops.auto import auto_loop_factory

from gateway.cli.environment import read_settings
from gateway.cli.errors import Failed
from gateway.processes import run_internal_jobs_worker, run_user_workflows_worker
from gateway.processes import serve as serve_api
from internal_jobs.errors import UnsafeRedis
from user_workflows.codegen.load import ModuleFault


@click.command()
def serve() -> None:
    """Serve the API. Settings come from GATEWAY_* and TEMPORAL_*."""
    _run(serve_api(read_settings()))


@click.group()
def worker() -> None:
    """Run one of the workers. Settings come from GATEWAY_* and TEMPORAL_*."""


@worker.command("user-workflows")
@click.option(
    "--module",
    "modules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A file written by `gateway workflow export`, to be served too; may be repeated.",
)
@click.option("--queue", help="Serve the tenants that have this queue, and nobody else's executions.")
def user_workflows(modules: tuple[Path, ...], queue: str | None) -> None:
    """Run user workflows, on Temporal."""
    try:
        asyncio.run(run_user_workflows_worker(read_settings(), modules, queue))
    except ModuleFault as fault:
        raise Failed(str(fault)) from fault


@worker.command("internal-jobs")
@click.option("--cell", type=int, hidden=True)
def internal_jobs(cell: int | None) -> None:
    """Run internal jobs, on Dramatiq."""
    try:
        _run(run_internal_jobs_worker(read_settings(), cell=cell))
    except UnsafeRedis as error:
        raise Failed(str(error)) from error


def _run(process: Coroutine[Any, Any, None]) -> None:
    """Run a process that does many small things on uvloop, where there is one.

    A third of what a request costs is the loop's, and a sixth of what a job does. Temporal's worker gains nothing.
    """
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(process)
