"""What may be wrong with one node alone: its plugin, its config, its credentials, its times."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from plugins.host.retry import Duration, Retry
from user_workflows.definition.catalogue import Catalogue, slots_of
from user_workflows.definition.control_nodes import ControlNode
from user_workflows.definition.drawing import Drawing, DrawnNode
from user_workflows.definition.durations import range_fault
from user_workflows.definition.faults import Faults, Severity, pointer
from user_workflows.definition.shape import Mismatch, is_template, match
from user_workflows.interpreter.calls import CALL

#: keys of a node that say how a plugin is called → their type, and the value that asks for nothing
_FOR_PLUGINS: Mapping[str, tuple[Any, object]] = {
    "retry": (Retry, None),
    "timeout": (Duration, None),
    "isolate": (bool, False),
    "onUnknown": (Literal["fail", "retry"], "fail"),
}


def check_nodes(drawing: Drawing, catalogue: Catalogue, faults: Faults) -> None:
    for node in drawing.nodes:
        if node.id is not None and drawing.by_id[node.id] is not node:
            first = pointer(*drawing.by_id[node.id].path)
            message = f"node id {node.id!r} is taken by {first}; ids must be unique, those inside loops too"
            faults.add("node.duplicateId", (*node.path, "id"), message, node_id=node.id)
        _check_plugin(node, catalogue, faults)
        _check_times(node, faults)
        if node.compensation is not None:
            _check_compensation(node.compensation, catalogue, faults)
    for graph in drawing.graphs:
        for node in graph.nodes:
            if node.compensation is not None and graph.loop is not None:
                message = (
                    f"what is inside the loop {graph.loop.id} is not undone by itself; draw compensate on the loop"
                )
                _add(node, faults, "compensate.insideLoop", ("compensate",), message)


def _check_compensation(undo: DrawnNode, catalogue: Catalogue, faults: Faults) -> None:
    if isinstance(undo.kind, ControlNode):
        message = f"{undo.plugin_id} is a control node and cannot undo anything; name a plugin"
        _add(undo, faults, "compensate.notPlugin", ("pluginId",), message)
    else:
        _check_plugin(undo, catalogue, faults)
    _check_times(undo, faults)


def _check_plugin(node: DrawnNode, catalogue: Catalogue, faults: Faults) -> None:
    if node.plugin_id is None:
        return
    if node.kind is None:
        message = f"no plugin {node.plugin_id!r} is installed{faults.suggest(node.plugin_id, catalogue.ids())}"
        faults.add("plugin.unknown", (*node.path, "pluginId"), message, node_id=node.id)
        return
    _check_config(node, node.kind.config, faults)
    if isinstance(node.kind, ControlNode):
        _check_control(node, node.kind, faults)
    slots = {slot.name: slot for slot in slots_of(node.kind)}
    for slot in node.credentials:
        if slot not in slots:
            where = faults.suggest(slot, slots) if slots else f"; {node.plugin_id} takes no credentials"
            message = f"{node.plugin_id} has no credential slot {slot!r}{where}"
            _add(node, faults, "credential.unknownSlot", ("credentials", slot), message)
    for name, declared in slots.items():
        if not declared.optional and name not in node.credentials:
            message = f"{node.plugin_id} needs a credential ({' or '.join(declared.types)}) in slot {name!r}; bind one"
            _add(node, faults, "credential.missing", ("credentials", name), message)


def _check_config(node: DrawnNode, expected: type[Any], faults: Faults) -> None:
    if "config" in node.raw and not isinstance(node.raw["config"], dict):
        return  # the node's own shape says so
    for mismatch in match(node.config, expected, templates=True):
        _add(node, faults, code("config", mismatch), ("config", *mismatch.path), describe(mismatch, faults))


def _check_control(node: DrawnNode, kind: ControlNode, faults: Faults) -> None:
    for path, fault in kind.check(node.config):
        _add(node, faults, "config.invalid", ("config", *path), _sentence(path, fault))
    for key in node.config:
        if key in kind.literal and is_template(node.config[key]):
            message = "must be drawn as it is: it is read before any expression is evaluated"
            _add(node, faults, "config.invalid", ("config", key), _sentence((key,), message))
    _check_idle_keys(node, kind, faults)


def _check_idle_keys(node: DrawnNode, kind: ControlNode, faults: Faults) -> None:
    """Report what is drawn on a control node and would be passed over: it is meant for plugins."""
    for key, (expected, passive) in _FOR_PLUGINS.items():
        if key not in node.raw or node.raw[key] in (None, passive) or any(match(node.raw[key], expected)):
            continue
        if key == "retry" and kind.takes_time:
            _add(node, faults, "node.notRetried", (key,), f"{kind.id} is not tried again as a whole; {_instead(kind)}")
        elif not (key == "timeout" and kind.takes_time):
            message = f"{key!r} has no effect on {kind.id}, which the engine itself carries out; remove it"
            faults.add("node.noEffect", (*node.path, key), message, node_id=node.id, severity="warning")


def _instead(kind: ControlNode) -> str:
    if kind.is_loop:
        return "set retry on the nodes inside"
    return "set retry in the workflow that it calls" if kind.id == CALL else "remove retry"


def _check_times(node: DrawnNode, faults: Faults) -> None:
    _check_range(node, ("timeout",), node.raw.get("timeout"), faults)
    retry = node.raw.get("retry")
    if isinstance(retry, dict):
        for key in ("initialInterval", "maxInterval"):
            _check_range(node, ("retry", key), retry.get(key), faults)


def _check_range(node: DrawnNode, path: tuple[str, ...], text: object, faults: Faults) -> None:
    if fault := range_fault(text):
        faults.add("node.invalid", (*node.path, *path), _sentence(path, fault), node_id=node.id)


def _add(node: DrawnNode, faults: Faults, code: str, path: Sequence[str | int], message: str) -> None:
    # A disabled node may be half drawn: it passes its input through and its config is not read.
    severity: Severity = "warning" if node.disabled else "error"
    faults.add(code, (*node.path, *path), message, node_id=node.id, severity=severity)


def code(noun: str, mismatch: Mismatch) -> str:
    """Return the fault code of a mismatch in a `noun`."""
    if mismatch.reason == "expressionRequired":
        return "expression.required"
    return f"{noun}.{mismatch.reason}"


def describe(mismatch: Mismatch, faults: Faults) -> str:
    """Return a sentence for a user about a mismatch."""
    suggestion = ""
    if mismatch.reason == "unknownKey":
        suggestion = faults.suggest(str(mismatch.path[-1]), mismatch.known)
    return _sentence(mismatch.path, mismatch.message) + suggestion


def _sentence(path: Sequence[str | int], message: str) -> str:
    if not path:
        return f"this {message}"
    name = str(path[0]) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:])
    return f'"{name}" {message}'
