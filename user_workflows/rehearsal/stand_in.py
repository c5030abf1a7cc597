"""Stands in for everything that a walk would hand to an engine, and acts on nothing.

No plugin is called but those that are `pure`, and these without network, credentials or a place to write. All others
come to their pinned output, or to one made of the type that they declare.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from plugins.egress.client import EgressClient
from plugins.host.pure import run_pure
from plugins.host.registry import Registry
from plugins.sdk.conform import Nonconforming, conform
from plugins.sdk.duration import parse_duration
from plugins.sdk.errors import PluginError
from plugins.sdk.plugin import Plugin
from user_workflows.interpreter.calls import CALL
from user_workflows.interpreter.control import Performed, Ports, Scope, Stop, evaluate
from user_workflows.interpreter.errors import StepFailed
from user_workflows.interpreter.loops import run_foreach, run_while
from user_workflows.interpreter.messages import StepError
from user_workflows.interpreter.node import NodeState
from user_workflows.interpreter.templates import Templates
from user_workflows.interpreter.walk import Walk
from user_workflows.plan.model import PlanNode
from user_workflows.rehearsal.samples import sample
from user_workflows.rehearsal.tally import Tally

#: evaluated  as an execution would
#: called     a pure plugin, which computed it
#: pinned     by the definition, or by who asks
#: made       up: from a schema, or for want of an event
Source = Literal["evaluated", "called", "pinned", "made"]

Key = tuple[str, tuple[int, ...]]

#: inline nodes that have several ports
_DECIDING = ("if", "switch")


class Note(Struct, frozen=True):
    """Where an output comes from, and what an execution would have done instead."""

    source: Source
    reason: str | None = None


class StandIn:
    """The performer of a rehearsal.

    Args:
        registry: the plugins that nodes name.
        pins: node id → the output that it is pinned to.
        egress: of this process; nothing is let through it.
        tally: says how much time is left.
    """

    def __init__(self, registry: Registry, pins: Mapping[str, Any], egress: EgressClient, tally: Tally) -> None:
        self._registry = registry
        self._pins = pins
        self._egress = egress
        self._tally = tally
        self.notes: dict[Key, Note] = {}  # of what was not evaluated

    async def perform(self, walk: Walk, state: NodeState, scope: Scope) -> Performed:
        node = state.node
        if node.plugin in ("foreach", "while"):
            if node.id in self._pins:
                return self._pinned(state, "its output is pinned; its body was not walked")
            return await (run_foreach if node.plugin == "foreach" else run_while)(walk, state, scope)
        config = walk.templates.at(node).render(scope)
        match node.plugin:
            case "wait":
                return self._wait(state, config)
            case "approval":
                return self._instead(state, {"decisions": []}, "would ask people; taken as approved")
            case plugin if plugin == CALL:
                made = "ex_notStarted" if config.get("mode") == "detach" else None
                return self._instead(state, made, f"would start workflow {config.get('workflowId')}")
        return await self._plugin(state, self._registry.get(node.plugin), config)

    def evaluate(self, node: PlanNode, templates: Templates, scope: Scope) -> Ports | Stop:
        """Evaluate an inline node; one that is pinned decides by itself only by which ports it leaves.

        A `stop` leaves nothing behind: it ends the execution whatever is pinned.

        Raises:
            StepFailed, ExpressionError: as in an execution.
        """
        if node.id not in self._pins or node.plugin == "stop":
            return evaluate(node, templates, scope)
        decided = evaluate(node, templates, scope) if node.plugin in _DECIDING else _by_default(node, None)
        return decided if isinstance(decided, Stop) else dict.fromkeys(decided, self._pins[node.id])

    def note_of(self, state: NodeState) -> Note:
        """Return where the output of a node comes from that has one."""
        if (note := self.notes.get(_key(state))) is not None:
            return note
        if state.node.id in self._pins and state.node.plugin != "stop" and not state.node.disabled:
            return Note("pinned", "its output is pinned")
        return Note("evaluated")

    async def _plugin(self, state: NodeState, plugin: Plugin, config: Any) -> Performed:
        try:
            decoded = conform(plugin.config, config)
        except Nonconforming as error:
            message = f"the config of {plugin.id} is not valid: {error}"
            raise StepFailed(StepError(type="config.invalid", message=message)) from None
        effect = _effect(plugin, decoded)
        if state.node.id in self._pins:
            return self._pinned(state, f"its output is pinned; {_would(effect)}")
        if effect == "pure" and not any(not slot.optional for slot in plugin.credentials):
            return await self._compute(state, plugin, decoded)
        made = sample(plugin.output)
        reason = f"made from its schema; {_would(effect)}"
        if made.unknown:
            about = ", ".join(name or "it" for name in made.unknown)
            reason += f"; the schema says nothing of {about}, which is null: pin an output to see what follows from it"
        return self._instead(state, made.value, reason)

    async def _compute(self, state: NodeState, plugin: Plugin, config: Any) -> Performed:
        self.notes[_key(state)] = Note("called")
        step = ".".join((state.node.id, *map(str, state.path)))
        timeout = min(state.node.timeout, self._tally.seconds_left)
        try:
            outcome = await run_pure(plugin, config, step=step, timeout=timeout, egress=self._egress)
        except PluginError as error:
            raise StepFailed(StepError(type=error.type, message=str(error), status=error.status)) from None
        return Performed({outcome.port: outcome.output})

    def _wait(self, state: NodeState, config: Mapping[str, Any]) -> Performed:
        signal = config.get("signal")
        try:
            reason = _waiting(config)
        except (TypeError, ValueError) as error:
            raise StepFailed(StepError(type="config.invalid", message=f"wait: {error}")) from error
        if signal is not None or state.node.id in self._pins:
            return self._instead(state, None, reason)
        self.notes[_key(state)] = Note("evaluated", reason)
        return Performed({"output": state.input})

    def _instead(self, state: NodeState, made: Any, reason: str) -> Performed:
        if state.node.id in self._pins:
            return self._pinned(state, f"its output is pinned; {reason}")
        self.notes[_key(state)] = Note("made", reason)
        return Performed(_by_default(state.node, made))

    def _pinned(self, state: NodeState, reason: str) -> Performed:
        self.notes[_key(state)] = Note("pinned", reason)
        return Performed(_by_default(state.node, self._pins[state.node.id]))


def _key(state: NodeState) -> Key:
    return state.node.id, state.path


def _by_default(node: PlanNode, value: Any) -> Ports:
    return {node.default_port: value}


def _effect(plugin: Plugin, config: Any) -> str:
    try:
        return plugin.effect_of(config)
    except Exception:  # the plugin's own function: what it would do is not known
        return "unsafe"


def _would(effect: str) -> str:
    return "not called, though it only computes" if effect == "pure" else f"not called, for its effect is {effect}"


def _waiting(config: Mapping[str, Any]) -> str:
    """Say what a wait would wait for.

    Raises:
        TypeError, ValueError: the rendered duration or moment cannot be read.
    """
    for key in ("duration", "timeout"):
        if config.get(key) is not None:
            parse_duration(config[key])
    if config.get("signal") is not None:
        return f"would wait for signal {str(config['signal'])!r}; taken as sent, without a payload"
    if config.get("duration") is not None:
        return f"would wait for {config['duration']}"
    if not isinstance(config.get("until"), str):
        raise TypeError("until must be a timestamp like 2030-01-31T09:00:00Z")
    datetime.fromisoformat(config["until"])
    return f"would wait until {config['until']}"
