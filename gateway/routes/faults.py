"""Faults of definitions, as the API shows them."""

from collections.abc import Iterable
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from user_workflows.definition.model import Fault


class FaultBody(Struct, frozen=True, kw_only=True, rename="camel"):
    code: str
    severity: Literal["error", "warning"]
    #: JSON Pointer (RFC 6901) into the definition
    pointer: str
    message: str
    #: of the node that it is about, where it is about one
    node_id: str | UnsetType = UNSET
    #: within the string at `pointer`, in characters from its start, where one place in it is meant
    position: int | UnsetType = UNSET


def show_faults(faults: Iterable[Fault]) -> list[FaultBody]:
    return [
        FaultBody(
            code=fault.code,
            severity=fault.severity,
            pointer=fault.pointer,
            message=fault.message,
            node_id=fault.node_id or UNSET,
            position=UNSET if fault.position is None else fault.position,
        )
        for fault in faults
    ]
