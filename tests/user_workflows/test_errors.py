"""Errors carry a message fit to show."""

from user_workflows.definition.model import Fault
from user_workflows.errors import (
    EngineUnavailable,
    InvalidDefinition,
    InvalidInput,
    NotFound,
    StaleRevision,
    WorkflowsError,
)


def test_messages_say_what_is_wrong_and_how_to_mend() -> None:
    fault = Fault(code="plugin.unknown", pointer="/nodes/0/pluginId", message="no plugin 'x' is installed")
    errors: list[WorkflowsError] = [
        NotFound("workflow", "wf_1"),
        StaleRevision(expected=1, actual=2),
        InvalidDefinition([fault, fault]),
        InvalidInput("/name", "must not be empty"),
        EngineUnavailable(),
    ]
    assert [error.message for error in errors] == [
        "no workflow 'wf_1' exists",
        "the draft is at revision 2, not 1; read it again and repeat the change",
        "no plugin 'x' is installed; no plugin 'x' is installed",
        "must not be empty",
        "the workflow engine cannot be reached at the moment; try again shortly",
    ]
