"""Events of the world: each starts an execution of every trigger that listens to it, once however often it comes."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from user_workflows.admission.caps import Rate
from user_workflows.definition.model import Trigger
from user_workflows.definition.trigger_configs import EventConfig
from user_workflows.errors import InvalidInput
from user_workflows.executions.beginnings import StartRequest
from user_workflows.executions.executions import Executions, Launch
from user_workflows.executions.views import Execution
from user_workflows.expressions import ExpressionError, Template, compile_template
from user_workflows.inbox.event import RawEvent
from user_workflows.interpreter.messages import TriggerCall
from user_workflows.workflows.workflows import Hook, Workflows

#: executions that one request may start
MOST_STARTED = 1_000

_log = structlog.get_logger(__name__)


class Received(Struct, frozen=True, kw_only=True):
    """An execution that an event stands for, and which of the events."""

    event: int
    trigger_id: str
    execution: Execution


class Receipt(Struct, frozen=True, kw_only=True):
    #: in the order of the events
    started: list[Received]
    #: after them, where starts per minute are capped
    rate: Rate | None


class Events:
    """Takes in CloudEvents, as objects of the JSON format that have been checked already."""

    def __init__(self, *, workflows: Workflows, executions: Executions) -> None:
        self._workflows = workflows
        self._executions = executions

    async def receive(
        self, tenant_id: str, events: Sequence[Mapping[str, Any]], *, actor: str, traceparent: str | None = None
    ) -> Receipt:
        """Start what listens to these events, all of it or none.

        An event is known by its source and id (CloudEvents 1.0, `id`): one that comes again stands for the executions
        that it has started.

        Raises:
            InvalidInput: more than `MOST_STARTED` executions would start; none did.
            EngineUnavailable: Temporal cannot be reached; what was to start is started later.
        """
        found: list[tuple[int, Hook]] = []
        listeners = {type: await self._workflows.triggers.find_listeners(tenant_id, type) for type in _types(events)}
        for index, event in enumerate(events):
            found += [(index, hook) for hook in listeners[event["type"]] if _listens(hook, event)]
        if len(found) > MOST_STARTED:
            message = (
                f"would start {len(found)} executions, and at most {MOST_STARTED} are; send fewer events at a time"
            )
            raise InvalidInput("", message)
        requests = [_request(hook, events[index], actor, traceparent) for index, hook in found]
        launch = await self._executions.launch(tenant_id, requests) if requests else Launch(executions=[])
        return Receipt(
            started=[
                Received(event=index, trigger_id=hook.trigger.id, execution=execution)
                for (index, hook), execution in zip(found, launch.executions, strict=True)
            ],
            rate=launch.rate,
        )


def _types(events: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(event["type"] for event in events))


def _listens(hook: Hook, event: Mapping[str, Any]) -> bool:
    config = msgspec.convert(hook.trigger.config, EventConfig)
    if config.source is not None and config.source != event["source"]:
        return False
    return config.filter is None or _passes(config.filter, hook, event)


def _passes(condition: str, hook: Hook, event: Mapping[str, Any]) -> bool:
    try:
        passes = _compiled(condition).render({"trigger": event})
    except ExpressionError as error:
        # An event without what the filter asks for is none that it lets through; its owner may want to know.
        _log.info("event.notFiltered", workflow_id=hook.workflow_id, trigger_id=hook.trigger.id, error=error.type)
        return False
    return passes is True


@lru_cache(1_024)
def _compiled(condition: str) -> Template:
    return compile_template(condition)


def _request(hook: Hook, event: Mapping[str, Any], actor: str, traceparent: str | None) -> StartRequest:
    trigger: Trigger = hook.trigger
    identity = msgspec.json.encode([hook.workflow_id, trigger.id, event["source"], event["id"]])
    return StartRequest(
        workflow_id=hook.workflow_id,
        published=hook.published,
        trigger=TriggerCall(type="event", id=trigger.id, payload=dict(event), traceparent=traceparent),
        actor=actor,
        key=f"event:{sha256(identity).hexdigest()}",
        event=RawEvent(
            type="event",
            delivery_id=event["id"],
            method="POST",
            headers={"content-type": "application/cloudevents+json"},
            query={},
            body=msgspec.json.encode(event),
        ),
    )
