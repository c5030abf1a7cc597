"""The workflow type in which an execution waits for long: it keeps what it is told, and does nothing (design §6).

A few events, of any build: what is parked holds no build of the worker back, however many months it waits.
"""

import asyncio
from collections.abc import Sequence
from typing import NoReturn

from msgspec import structs
from temporalio import workflow
from temporalio.common import RawValue, VersioningBehavior

from user_workflows.interpreter.figures import Figures
from user_workflows.interpreter.handover import go_on_in
from user_workflows.interpreter.messages import (
    EXECUTION,
    PARKED,
    Carried,
    Earlier,
    Parking,
    Received,
    StartExecution,
)
from user_workflows.interpreter.waits import seconds_until


@workflow.defn(name=PARKED, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Parked:
    """An execution that waits, until its time has come or it is told something, and then goes on in the interpreter."""

    @workflow.init
    def __init__(self, parking: Parking) -> None:
        self._received: list[Received] = []
        self._figures = Figures(parking.start.earlier)

    @workflow.run
    async def run(self, parking: Parking) -> NoReturn:
        """Wait, and hand on what came."""
        workflow.set_current_details(parking.details)
        self._figures.count(int(parking.until is not None))
        is_cancel_requested = False
        try:
            await workflow.wait_condition(lambda: bool(self._received), timeout=seconds_until(parking.until))
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            is_cancel_requested = True
        go_on_in(EXECUTION, self._woken(parking.start, is_cancel_requested=is_cancel_requested))

    @workflow.signal(dynamic=True)
    def on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Keep whatever the interpreter understands, or one of a later release does."""
        values = workflow.payload_converter().from_payloads([arg.payload for arg in args])
        self._received.append(Received(name=name, args=tuple(values)))

    def _woken(self, start: StartExecution, *, is_cancel_requested: bool) -> StartExecution:
        carried, earlier = _kept(start)
        return structs.replace(
            start,
            carried=structs.replace(carried, received=tuple(self._received), is_cancel_requested=is_cancel_requested),
            earlier=structs.replace(
                earlier,
                history_events=self._figures.final_length(),
                billable_actions=self._figures.billable_actions,
            ),
        )


def _kept(start: StartExecution) -> tuple[Carried, Earlier]:
    if start.carried is None or start.earlier is None:
        raise ValueError("only what has begun is parked")
    return start.carried, start.earlier
