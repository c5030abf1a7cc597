"""What control and data nodes do, and the few forms of expressions that `drawings` draws: a part of the model."""

import re
from collections.abc import Callable, Mapping
from typing import Any

_MISSING = object()


class Failed(Exception):
    """A node fails."""


class Stopped(Exception):
    """A `stop` node ends the whole execution as completed."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def _if(config: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    return {"true" if boolean(render(config["condition"], scope)) else "false": scope["input"]}


def _switch(config: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    for case in config["cases"]:
        if boolean(render(case["when"], scope)):
            taken[case["port"]] = scope["input"]
            if config.get("mode", "first") == "first":
                break
    return taken or {"default": scope["input"]}


def _set(config: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    return {"output": render(config["values"], scope)}


def _merge(config: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    return {"output": scope["input"]}


def _filter(config: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    items = render(config["items"], scope)
    if not isinstance(items, list):
        raise Failed
    kept = [
        item
        for index, item in enumerate(items)
        if boolean(render(config["where"], {**scope, "item": item, "index": index}))
    ]
    return {"output": kept}


def _stop(config: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    raise Stopped(render(config.get("output"), scope))


INLINE: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]] = {
    "if": _if,
    "switch": _switch,
    "set": _set,
    "merge": _merge,
    "filter": _filter,
    "stop": _stop,
}


def default_port(node: Mapping[str, Any]) -> str:
    match node["pluginId"]:
        case "if":
            return "true"
        case "switch":
            return str(node["config"]["cases"][0]["port"])
        case _:
            return "output"


def render(value: Any, scope: Mapping[str, Any]) -> Any:
    """Return a config with its expressions evaluated.

    Raises:
        Failed: an expression reads what is not there, or compares what has no order.
    """
    match value:
        case dict():
            return {key: render(inner, scope) for key, inner in value.items()}
        case list():
            return [render(inner, scope) for inner in value]
        case str() if value.startswith("{{ "):
            return evaluate(value.removeprefix("{{ ").removesuffix(" }}"), scope)
        case _:
            return value


def evaluate(text: str, scope: Mapping[str, Any]) -> Any:
    """Evaluate ``has(path)``, ``operand``, ``operand == operand`` or ``operand < operand``."""
    if found := re.fullmatch(r"has\((.+)\)", text):
        return _read(found[1], scope) is not _MISSING
    if len(parts := text.split(" ")) == 1:
        return _operand(text, scope)
    left, right = _operand(parts[0], scope), _operand(parts[2], scope)
    if parts[1] == "==":
        return isinstance(left, bool) == isinstance(right, bool) and left == right
    if not all(isinstance(side, int) and not isinstance(side, bool) for side in (left, right)):
        raise Failed
    return left < right


def _operand(text: str, scope: Mapping[str, Any]) -> Any:
    constants = {"true": True, "false": False, "null": None}
    if text in constants:
        return constants[text]
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    value = _read(text, scope)
    if value is _MISSING:
        raise Failed
    return value


def _read(path: str, scope: Mapping[str, Any]) -> Any:
    value: Any = scope
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Failed
    return value
