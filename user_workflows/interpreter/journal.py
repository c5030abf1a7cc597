"""What changed in one execution, numbered: the order of the records that tell it."""

from user_workflows.interpreter.messages import SEQ_STRIDE
from user_workflows.interpreter.node import NodeState


class Journal:
    """Numbers every change of every node, those inside loops too, and hands it out once."""

    def __init__(self, seq: int = 0) -> None:
        #: rises with every change
        self.seq = seq
        self._noted: dict[tuple[str, tuple[int, ...]], NodeState] = {}
        self._changed: dict[tuple[str, tuple[int, ...]], NodeState] = {}

    def tick(self) -> None:
        """Number a change of the execution as a whole."""
        self.seq += SEQ_STRIDE

    def note(self, state: NodeState) -> None:
        self.tick()
        state.seq = self.seq
        key = (state.node.id, state.path)
        self._noted[key] = self._changed[key] = state

    def changed(self) -> list[NodeState]:
        """Return the nodes that changed since they were last taken."""
        return list(self._changed.values())

    def take_changed(self) -> list[NodeState]:
        """Return the nodes that changed since the last call."""
        changed = self.changed()
        self._changed.clear()
        return changed

    def all(self) -> list[NodeState]:
        """Return every node that ever changed, in the order of their first change."""
        return list(self._noted.values())
