"""The `wait` node: for a duration, until a moment, or for a named signal."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import workflow

from plugins.sdk.duration import parse_duration
from user_workflows.interpreter.control import Ports
from user_workflows.interpreter.errors import StepFailed
from user_workflows.interpreter.figures import Figures
from user_workflows.interpreter.messages import StepError
from user_workflows.interpreter.node import NodeState, Waiting


class Signals:
    """Named signals that have arrived and were not awaited yet, oldest first."""

    def __init__(self, kept: Mapping[str, Sequence[Any]] | None = None) -> None:
        self._kept = {name: deque(payloads) for name, payloads in (kept or {}).items()}

    def has(self, name: str) -> bool:
        return bool(self._kept.get(name))

    def put(self, name: str, payload: Any) -> None:
        self._kept.setdefault(name, deque()).append(payload)

    async def take(self, name: str, timeout: float | None, summary: str | None = None) -> Any:
        """Wait for the next signal of that name; one that is there already comes even when the time is over.

        Raises:
            TimeoutError: none came within `timeout` seconds.
        """
        deadline = None if timeout is None else workflow.now() + timedelta(seconds=timeout)
        is_late = timeout is not None and timeout <= 0
        while not (is_late and self._kept.get(name)):
            await workflow.wait_condition(lambda: bool(self._kept.get(name)), timeout=timeout, timeout_summary=summary)
            if self._kept.get(name):
                break
            # Another that waits for the same was faster.
            timeout = None if deadline is None else (deadline - workflow.now()).total_seconds()
        return self._kept[name].popleft()

    def kept(self) -> dict[str, list[Any]]:
        """Return what has arrived and was not awaited yet."""
        return {name: list(payloads) for name, payloads in self._kept.items() if payloads}


async def run_wait(
    graph: Waiting,
    state: NodeState,
    config: dict[str, Any],
    signals: Signals,
    *,
    figures: Figures,
    tell: Callable[[], None],
) -> Ports:
    """Wait as the rendered `config` says, and return the port to leave by.

    A wait that has begun keeps its deadline in `NodeState.kept`, and so goes on where it was.

    Args:
        graph: what the node lies in.
        state: of the node.
        config: rendered.
        signals: that have arrived.
        figures: count the timer.
        tell: called when the node has begun to wait, which nothing else would tell of.

    Raises:
        StepFailed: the rendered duration or moment cannot be read.
    """
    if not state.kept:
        try:
            state.kept, reason = _begin(config)
        except (TypeError, ValueError) as error:
            raise StepFailed(StepError(type="config.invalid", message=f"wait: {error}")) from error
        graph.wait(state, reason)
        tell()
    seconds = seconds_until(state.kept["until"])
    name = state.kept.get("signal")
    has_timer = seconds is not None and seconds > 0 and not (name is not None and signals.has(name))
    figures.count(int(has_timer))
    summary = state.node.label or state.node.id
    if name is None:
        if seconds is not None and seconds > 0:
            await workflow.sleep(seconds, summary=summary)
        return {"output": state.input}
    try:
        payload = await signals.take(name, seconds, summary)
        if has_timer:
            # It is taken back in this workflow task.
            figures.count_marker()
        return {"output": payload}
    except TimeoutError:
        return {"timeout": None}


def _begin(config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what a wait keeps, and why it waits.

    Raises:
        TypeError, ValueError: the duration or moment cannot be read.
    """
    if (name := config.get("signal")) is not None:
        timeout = config.get("timeout")
        until = None if timeout is None else _after(timeout)
        return {"signal": str(name), "until": until}, (
            f"waiting for signal {name!r}" + (f", at most {timeout}" if timeout else "")
        )
    if (duration := config.get("duration")) is not None:
        return {"until": _after(duration)}, f"waiting for {duration}"
    moment = _moment(config.get("until"))
    return {"until": moment.isoformat()}, f"waiting until {moment.isoformat()}"


def seconds_until(moment: str | None) -> float | None:
    """Return how long it is until a deadline that a node keeps; negative when it has passed, ``None`` without one."""
    return None if moment is None else (datetime.fromisoformat(moment) - workflow.now()).total_seconds()


def _after(duration: str) -> str:
    return (workflow.now() + timedelta(seconds=parse_duration(duration))).isoformat()


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise TypeError("until must be a timestamp like 2030-01-31T09:00:00Z")
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
