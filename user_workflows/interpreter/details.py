"""The state of the graph as Temporal's own UI shows it: the workflow's current details, in Markdown."""

from collections.abc import Iterable

from user_workflows.interpreter.node import NodeState

#: nodes that are named; a thousand would help nobody
MOST_NAMED = 20


def details(states: Iterable[NodeState], *, is_paused: bool) -> str:
    """Return how far an execution has come, and what it is doing, by the names that the user drew."""
    nodes = [*states]
    settled = sum(state.is_settled for state in nodes)
    lines = [f"{settled} of {len(nodes)} nodes settled" + (", **paused**" if is_paused else "")]
    under_way = [state for state in nodes if state.status in ("running", "waiting")]
    lines += [f"- {_named(state)}: {state.reason or state.status}" for state in under_way[:MOST_NAMED]]
    if len(under_way) > MOST_NAMED:
        lines.append(f"- and {len(under_way) - MOST_NAMED} more")
    return "\n".join(lines)


def _named(state: NodeState) -> str:
    node = state.node
    return f"{node.label} (`{node.id}`)" if node.label else f"`{node.id}`"
