"""Validate a definition completely: every fault at once, none hiding another."""

from typing import Any

import msgspec
from msgspec import Struct

from plugins.host.registry import Registry
from user_workflows.definition.calls import check_calls
from user_workflows.definition.catalogue import Catalogue
from user_workflows.definition.drawing import read_drawing
from user_workflows.definition.durations import range_fault
from user_workflows.definition.edges import check_edges
from user_workflows.definition.faults import Faults
from user_workflows.definition.graphs import check_graphs, report_mismatch
from user_workflows.definition.model import MAX_BYTES, Definition, Fault
from user_workflows.definition.nodes import check_nodes
from user_workflows.definition.reach import check_reach
from user_workflows.definition.references import check_references
from user_workflows.definition.shape import match
from user_workflows.definition.templates import Templates
from user_workflows.definition.triggers import check_triggers
from user_workflows.definition.types import check_types

#: How deep the JSON of a definition may nest: generous for configs, safe for everything that walks it.
MAX_JSON_DEPTH = 64


class Validation(Struct, frozen=True, kw_only=True):
    """The outcome: a definition that can be published, or what stands against it."""

    #: ``None`` when there is any error
    definition: Definition | None
    faults: tuple[Fault, ...]

    @property
    def valid(self) -> bool:
        return self.definition is not None


def validate(raw: Any, *, plugins: Registry, workflow_id: str | None = None) -> Validation:
    """Check any JSON value as a definition. Never raises.

    Args:
        raw: JSON, as decoded.
        plugins: what nodes may name, besides the control nodes.
        workflow_id: of the workflow that it is drawn for, where that is known.
    """
    faults = Faults()
    if not _is_measured(raw, faults):
        return Validation(definition=None, faults=tuple(faults.found))
    definition = _check_shape(raw, faults)
    if isinstance(raw, dict):
        catalogue = Catalogue(plugins)
        drawing = read_drawing(raw, catalogue)
        _check_whole(raw, faults)
        check_graphs(drawing, faults)
        check_nodes(drawing, catalogue, faults)
        wired = {graph: check_edges(graph, drawing, faults) for graph in drawing.graphs}
        templates = Templates()
        check_reach(wired, templates, faults)
        check_references(drawing, wired, templates, faults)
        check_types(drawing, wired, templates, faults)
        check_triggers(drawing, faults)
        if workflow_id is not None:
            check_calls(drawing, raw, workflow_id, faults)
    return Validation(definition=None if faults.has_errors else definition, faults=tuple(faults.found))


def _is_measured(raw: Any, faults: Faults) -> bool:
    """Refuse what is too large or too deep to look at any closer."""
    if _depth(raw) > MAX_JSON_DEPTH:
        faults.add("definition.tooDeep", (), f"the definition nests deeper than {MAX_JSON_DEPTH} levels; flatten it")
        return False
    try:
        size = len(msgspec.json.encode(raw))
    except (UnicodeEncodeError, TypeError) as error:
        faults.add("definition.invalid", (), f"the definition is not JSON: {error}")
        return False
    if size > MAX_BYTES:
        message = f"the definition takes {size:,} bytes of JSON and may take {MAX_BYTES:,}; split the workflow"
        faults.add("definition.tooLarge", (), message)
        return False
    return True


def _depth(raw: Any) -> int:
    depth = 0
    level = [raw]
    while level and depth <= MAX_JSON_DEPTH:
        depth += 1
        inside: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inside.extend(value.values())
            elif isinstance(value, list):
                inside.extend(value)
        level = [value for value in inside if isinstance(value, (dict, list))]
    return depth


def _check_shape(raw: Any, faults: Faults) -> Definition | None:
    try:
        return msgspec.convert(raw, Definition)
    except msgspec.ValidationError:
        for mismatch in match(raw, Definition):
            report_mismatch(raw, mismatch, faults)
        return None


def _check_whole(raw: dict[str, Any], faults: Faults) -> None:
    if fault := range_fault(raw.get("timeout")):
        faults.add("definition.invalid", ("timeout",), f'"timeout" {fault}')
