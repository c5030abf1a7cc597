"""The local activities by which an execution that waits for long gives its slot back, and takes one again."""

from temporalio import activity

from user_workflows.admission.gate import Gate
from user_workflows.interpreter.parked import LET_GO, TAKE_UP


class SlotActivities:
    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    @activity.defn(name=LET_GO)
    async def let_go(self, tenant_id: str, execution_id: str) -> bool:
        """Give the slot of a parked execution back; return whether it had one to give."""
        return await self._gate.let_go(tenant_id, execution_id)

    @activity.defn(name=TAKE_UP)
    async def take_up(self, tenant_id: str, execution_id: str) -> bool:
        """Take a slot for an execution that wakes; return whether it has one, or is told later."""
        return await self._gate.take_up(tenant_id, execution_id)
