"""Errors of user workflows, and their tree. They know no HTTP: the gateway maps them to problems.

    WorkflowsError
    ├── NotFound            no such object of this tenant
    ├── InvalidDefinition   a definition has faults
    ├── InvalidInput        a value given with a request cannot be used
    ├── InvalidData         what a person filled in does not fit the form
    ├── UnreadableEvent     what came in is not what it says to be
    ├── Conflict            the object's present state does not allow it
    │   └── StaleRevision   the draft has changed since the caller read it
    ├── OverCap             a cap is reached, and the workflow says that such starts are refused
    ├── InputTooLarge       an input is larger than a cap allows
    ├── EngineUnavailable   Temporal cannot be reached
    └── FeedUnavailable     Redis cannot be reached

Messages are fit to show to a user and say how to mend.
"""

from collections.abc import Sequence

from user_workflows.admission.caps import Rate
from user_workflows.definition.model import Fault


class WorkflowsError(Exception):
    """Something about a workflow or an execution could not be done."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(WorkflowsError):
    """No such object exists. A foreign object is an absent one."""

    def __init__(self, what: str, id: str) -> None:
        super().__init__(f"no {what} {id!r} exists")
        #: the noun, e.g. ``workflow``
        self.what = what
        self.id = id


class InvalidDefinition(WorkflowsError):
    """The definition has faults; mend them and try again."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = tuple(faults)


class InvalidInput(WorkflowsError):
    """A value given with the request cannot be used."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        #: JSON Pointer (RFC 6901) into the request body
        self.pointer = pointer
        self.detail = detail


class InvalidData(WorkflowsError):
    """What a person filled in does not fit the form; each fault is named."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(message for _, message in faults))
        #: JSON Pointer (RFC 6901) into the request body, and what is wrong there
        self.faults = tuple(faults)


class UnreadableEvent(WorkflowsError):
    """What came in is not what it says to be."""


class Conflict(WorkflowsError):
    """The object's present state does not allow it."""


class TooMuchKept(Conflict):
    """What is kept of an execution is more than can be handed to another run."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(
            f"what is kept of the execution takes {size:,} bytes, and at most {most:,} can be handed on; "
            "rerun from an earlier node, of which less is kept, or replay it whole"
        )


class StaleRevision(Conflict):
    """The draft has changed since it was read."""

    def __init__(self, *, expected: int, actual: int) -> None:
        super().__init__(f"the draft is at revision {actual}, not {expected}; read it again and repeat the change")
        self.expected = expected
        self.actual = actual


class OverCap(WorkflowsError):
    """A cap is reached, and the workflow says that starts over a cap are refused."""

    def __init__(self, message: str, *, retry_after: float, rate: Rate | None = None) -> None:
        super().__init__(message)
        #: seconds until it is worth another try: exact where the clock decides, else an estimate (`expected_wait`)
        self.retry_after = retry_after
        #: how the tenant stands, where its starts per minute are capped
        self.rate = rate


class InputTooLarge(WorkflowsError):
    """The input is larger than a cap of its tenant or workflow allows."""

    def __init__(self, *, whose: str, size: int, limit: int) -> None:
        super().__init__(f"the input takes {size:,} bytes as JSON, and the {whose} takes {limit:,} at most; send less")


class EngineUnavailable(WorkflowsError):
    """Temporal cannot be reached at the moment; nothing was changed."""

    def __init__(self, retry_after: float = 5.0) -> None:
        super().__init__("the workflow engine cannot be reached at the moment; try again shortly")
        #: seconds after which another try makes sense
        self.retry_after = retry_after


class FeedUnavailable(WorkflowsError):
    """The live feed cannot be read at the moment."""

    def __init__(self, retry_after: float = 5.0) -> None:
        super().__init__("the live feed cannot be read at the moment; try again shortly, or read the execution")
        self.retry_after = retry_after
