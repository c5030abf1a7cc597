"""What of Temporal's refusals callers are told as an absence that passes."""

import pytest
from temporalio.service import RPCError, RPCStatusCode

from user_workflows.client import reaching_temporal
from user_workflows.errors import EngineUnavailable


@pytest.mark.parametrize("status", [RPCStatusCode.UNAVAILABLE, RPCStatusCode.RESOURCE_EXHAUSTED])
async def test_what_passes_is_an_engine_that_is_unavailable(status: RPCStatusCode) -> None:
    """Of an execution that is closing a real server says so too, when a machine is too slow to close it soon."""
    with pytest.raises(EngineUnavailable):
        async with reaching_temporal():
            raise RPCError("workflow operation can not be applied because workflow is closing", status, b"")


async def test_what_does_not_pass_is_told_as_it_is() -> None:
    with pytest.raises(RPCError, match="no such thing"):
        async with reaching_temporal():
            raise RPCError("no such thing", RPCStatusCode.NOT_FOUND, b"")
