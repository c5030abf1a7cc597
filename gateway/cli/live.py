"""Follows an execution or a job to its end: a table that changes on a terminal, a line per change elsewhere."""

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.cli.api import Api
from gateway.cli.output import cell, error_of, make_table, printable, seconds_between, shortened

#: an execution is over in one of these, and a job in one of those: when that has ``failed`` it is tried again
_ENDS = frozenset({"completed", "failed", "canceled", "terminated", "timedOut"})
_ENDS_OF_JOB = frozenset({"completed", "dead", "canceled", "expired"})

_POLL = 0.25


def follow_execution(api: Api, execution_id: str, console: Console) -> dict[str, Any]:
    """Show the steps of an execution as they happen; return the execution when it is closed."""
    view = _live if console.is_terminal else _lines
    return view(console, lambda: _read_execution(api, execution_id), _ENDS)


def follow_job(api: Api, job_id: str, console: Console) -> dict[str, Any]:
    """Show a job's states as they change; return the job when it is over."""
    view = _live if console.is_terminal else _lines
    return view(console, lambda: (api.get(f"/v1/jobs/{job_id}"), []), _ENDS_OF_JOB)


def steps_table(steps: list[dict[str, Any]]) -> Table:
    return make_table(("step", "status", "attempt", "took", "result"), [_step_row(step) for step in steps])


Reading = tuple[dict[str, Any], list[dict[str, Any]]]


def _read_execution(api: Api, execution_id: str) -> Reading:
    # The execution first: a closed one has its final steps.
    execution = api.get(f"/v1/executions/{execution_id}")
    return execution, api.get(f"/v1/executions/{execution_id}/steps")["items"]


def _live(console: Console, read: Callable[[], Reading], ends: frozenset[str]) -> dict[str, Any]:
    with Live(console=console, auto_refresh=False) as live:
        while True:
            subject, steps = read()
            live.update(Group(_headline(subject), *([steps_table(steps)] if steps else [])), refresh=True)
            if subject["status"] in ends:
                return subject
            time.sleep(_POLL)


def _lines(console: Console, read: Callable[[], Reading], ends: frozenset[str]) -> dict[str, Any]:
    shown: dict[str, str] = {}
    while True:
        subject, steps = read()
        for step in steps:
            if step["status"] != "pending" and shown.get(step["nodeId"]) != step["status"]:
                shown[step["nodeId"]] = step["status"]
                name, status, _, took, result = _step_row(step)
                console.print(f"  {name}: {status}", f"in {took}" if took else "", result, soft_wrap=True, markup=False)
        if shown.get("") != subject["status"]:
            shown[""] = subject["status"]
            console.print(_headline(subject))
        if subject["status"] in ends:
            return subject
        time.sleep(_POLL)


def _headline(subject: dict[str, Any]) -> Text:
    text = Text.assemble((subject["id"], "bold"), "  ", cell(subject["status"]))
    if error := error_of(subject):
        text.append(printable(f"  {error}"), style="red")
    return text


def _step_row(step: dict[str, Any]) -> tuple[str, str, Any, str | None, str]:
    took = seconds_between(step.get("startedAt"), step.get("closedAt")) if step.get("closedAt") else None
    return step["nodeId"], step["status"], step.get("attempt") or None, took, _result(step)


def _result(step: dict[str, Any]) -> str:
    if error := error_of(step):
        return printable(error)
    if step["status"] == "completed":
        port = step.get("port")
        left = f"→ {port}  " if port not in (None, "output") else ""
        return left + shortened(step.get("output"), 70)
    return step.get("reason") or ""
