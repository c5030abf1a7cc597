"""``gateway job-limits …``."""

from typing import Any

import click

from gateway.cli.api import Api
from gateway.cli.output import Output, with_output
from gateway.cli.reach import with_either_api

_PATH = "/v1/job-limits"

_scope = click.argument("scope", type=click.Choice(("type", "host", "tenant")))
_subject = click.argument("subject", default="")
_tenant = click.option("--tenant", "tenant_id", help="Whose, with --admin; without it, all tenants together.")


class RateInput(click.ParamType[dict[str, Any]]):
    """A click parameter like ``100/1m``: so many starts in so long."""

    name = "COUNT/TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        count, _, per = str(value).partition("/")
        if not count.isdigit() or not per:
            self.fail(f"{value!r} is not like 100/1m", param, ctx)
        return {"count": int(count), "per": per}


@click.group("job-limits")
def job_limits() -> None:
    """Limits of jobs: how many run at a time, and how many start in a while."""


@job_limits.command("list")
@_tenant
@with_either_api
@with_output
def list_limits(api: Api, out: Output, *, tenant_id: str | None) -> None:
    """List the limits of your tenant; with --admin, of a tenant or of the installation."""
    found = api.get(_PATH, tenantId=tenant_id)["items"]
    rows = [(_what(limit), limit.get("maxConcurrent"), _rate(limit)) for limit in found]
    out.table(("what", "at a time", "starts"), rows, raw=found, empty="Nothing is limited.")


@job_limits.command("set")
@_scope
@_subject
@_tenant
@click.option("--max-concurrent", type=click.IntRange(0), help="At a time; 0 holds them all back.")
@click.option("--rate", type=RateInput(), help='Starts, e.g. "100/1m", evenly spread.')
@with_either_api
@with_output
def set_limit(
    api: Api,
    out: Output,
    *,
    scope: str,
    subject: str,
    tenant_id: str | None,
    max_concurrent: int | None,
    rate: dict[str, Any] | None,
) -> None:
    """Limit the jobs of a type, to a host, or of a tenant; in place of an earlier limit on the same."""
    limit = {"scope": scope, "subject": subject, "maxConcurrent": max_concurrent, "rate": rate}
    set_to = api.send("PUT", _PATH, params=_query(tenantId=tenant_id), json=limit)
    out.fields({"what": _what(set_to), "at a time": set_to.get("maxConcurrent"), "starts": _rate(set_to)}, raw=set_to)


@job_limits.command()
@_scope
@_subject
@_tenant
@with_either_api
def remove(api: Api, *, scope: str, subject: str, tenant_id: str | None) -> None:
    """Lift a limit; it counts at once."""
    api.send("DELETE", _PATH, params=_query(scope=scope, subject=subject, tenantId=tenant_id))


def _query(**parameters: str | None) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


def _what(limit: dict[str, Any]) -> str:
    return f"{limit['scope']} {limit.get('subject', '')}".strip()


def _rate(limit: dict[str, Any]) -> str | None:
    rate = limit.get("rate")
    return f"{rate['count']} in {rate.get('per', '1s')}" if rate else None
