"""The credentials that nodes bind, looked at before a version is published.

What changes afterwards is found when a step asks for one.
"""

from collections.abc import Iterator, Mapping

from plugins.sdk.credential import Slot
from plugins.vault.credentials import CredentialRecord, Credentials
from user_workflows.definition.catalogue import slots_of
from user_workflows.definition.drawing import Drawing, DrawnNode
from user_workflows.definition.faults import pointer
from user_workflows.definition.model import Fault
from user_workflows.workflows.tables import is_possible_id


async def find_unlendable(credentials: Credentials, tenant_id: str, drawing: Drawing) -> list[Fault]:
    """Return a fault for each slot that is bound to a credential which its plugin would not be lent."""
    bound = [binding for node in drawing.nodes if not node.disabled for binding in _bindings(node)]
    wanted = {id for _, _, id in bound if is_possible_id(id)}
    known = await credentials.find(tenant_id, wanted) if wanted else {}
    return [
        Fault(code=code, pointer=pointer(*node.path, "credentials", slot.name), message=message, node_id=node.id)
        for node, slot, id in bound
        for code, message in _faults(node, slot, id, known)
    ]


def _bindings(node: DrawnNode) -> Iterator[tuple[DrawnNode, Slot, str]]:
    """Yield what a node binds, and what undoes it; what is no binding is for `validate` to report."""
    for slot in () if node.kind is None else slots_of(node.kind):
        id = node.credentials.get(slot.name)
        if isinstance(id, str):
            yield node, slot, id
    if node.compensation is not None:
        yield from _bindings(node.compensation)


def _faults(node: DrawnNode, slot: Slot, id: str, known: Mapping[str, CredentialRecord]) -> Iterator[tuple[str, str]]:
    record = known.get(id)
    if record is None:
        yield "credential.unknown", f"there is no credential {id!r}; bind one of type {' or '.join(slot.types)}"
        return
    if not slot.takes(record.type):
        takes = " or ".join(slot.types)
        yield "credential.wrongType", f"slot {slot.name!r} takes {takes}, and {record.name!r} is of type {record.type}"
    if record.allowed_plugins and node.plugin_id not in record.allowed_plugins:
        allowed = ", ".join(record.allowed_plugins)
        yield "credential.notAllowed", f"{record.name!r} may be used by {allowed}, not by {node.plugin_id}"
