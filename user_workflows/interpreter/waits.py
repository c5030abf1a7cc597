"""The `wait` node: for a duration, until a moment, or for a named signal."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from temporalio import workflow

from plugins.sdk.duration import parse_duration
from user_workflows.interpreter.control import Ports
from user_workflows.interpreter.errors import StepFailed
from user_workflows.interpreter.messages import StepError
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.state import GraphState


class Signals:
    """Named signals that have arrived and were not awaited yet, oldest first."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[Any]] = {}

    def put(self, name: str, payload: Any) -> None:
        self._kept.setdefault(name, deque()).append(payload)

    async def take(self, name: str, timeout: float | None) -> Any:
        """Wait for the next signal of that name.

        Raises:
            TimeoutError: none came within `timeout` seconds.
        """
        await workflow.wait_condition(lambda: bool(self._kept.get(name)), timeout=timeout)
        return self._kept[name].popleft()


async def run_wait(
    graph: GraphState, state: NodeState, config: dict[str, Any], signals: Signals, tell: Callable[[], None]
) -> Ports:
    """Wait as the rendered `config` says, and return the port to leave by.

    Args:
        graph: what the node lies in.
        state: of the node.
        config: rendered.
        signals: that have arrived.
        tell: called when the node has begun to wait, which nothing else would tell of.

    Raises:
        StepFailed: the rendered duration or moment cannot be read.
    """
    try:
        if (name := config.get("signal")) is not None:
            timeout = config.get("timeout")
            graph.wait(state, f"waiting for signal {name!r}" + (f", at most {timeout}" if timeout else ""))
            tell()
            return await _signal(signals, str(name), None if timeout is None else parse_duration(timeout))
        if (duration := config.get("duration")) is not None:
            seconds, reason = parse_duration(duration), f"waiting for {duration}"
        else:
            until = _moment(config.get("until"))
            seconds = (until - workflow.now()).total_seconds()
            reason = f"waiting until {until.isoformat()}"
    except (TypeError, ValueError) as error:
        raise StepFailed(StepError(type="config.invalid", message=f"wait: {error}")) from error
    graph.wait(state, reason)
    tell()
    if seconds > 0:
        await workflow.sleep(seconds)
    return {"output": state.input}


async def _signal(signals: Signals, name: str, timeout: float | None) -> Ports:
    try:
        return {"output": await signals.take(name, timeout)}
    except TimeoutError:
        return {"timeout": None}


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise TypeError("until must be a timestamp like 2030-01-31T09:00:00Z")
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
