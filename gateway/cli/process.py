"""``gateway serve`` and ``worker``: one process each, as production runs them."""

import asyncio

import click

from gateway.cli.environment import read_settings
from gateway.processes import run_internal_jobs_worker, run_user_workflows_worker
from gateway.processes import serve as serve_api


@click.command()
def serve() -> None:
    """Serve the API. Settings come from GATEWAY_* and TEMPORAL_*."""
    asyncio.run(serve_api(read_settings()))


@click.group()
def worker() -> None:
    """Run one of the workers. Settings come from GATEWAY_* and TEMPORAL_*."""


@worker.command("user-workflows")
def user_workflows() -> None:
    """Run user workflows, on Temporal."""
    asyncio.run(run_user_workflows_worker(read_settings()))


@worker.command("internal-jobs")
@click.option("--cell", type=int, hidden=True)
def internal_jobs(cell: int | None) -> None:
    """Run internal jobs, on Dramatiq."""
    asyncio.run(run_internal_jobs_worker(read_settings(), cell=cell))
