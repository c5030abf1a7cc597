"""The workflow type in which an execution waits for long: it keeps what it is told, and does nothing (design §6).

A few events, of any build: what is parked holds no build of the worker back, however many months it waits. Nor has it
a slot meanwhile: it gives its own back, and takes one again before it goes on (design §12).
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import NoReturn

from msgspec import structs
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy, VersioningBehavior
from temporalio.exceptions import is_cancelled_exception

from user_workflows.interpreter.figures import Figures
from user_workflows.interpreter.handover import go_on_in
from user_workflows.interpreter.messages import (
    ADMITTED,
    EXECUTION,
    PARKED,
    Carried,
    Earlier,
    Parking,
    Received,
    StartExecution,
)
from user_workflows.interpreter.waits import seconds_until

LET_GO = "admission.letGo"
TAKE_UP = "admission.takeUp"


@workflow.defn(name=PARKED, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Parked:
    """An execution that waits, until its time has come or it is told something, and then goes on in the interpreter."""

    @workflow.init
    def __init__(self, parking: Parking) -> None:
        self._received: list[Received] = []
        #: whether it was told that it has the slot that it waits for
        self._is_admitted = False
        self._figures = Figures(parking.start.earlier)

    @workflow.run
    async def run(self, parking: Parking) -> NoReturn:
        """Wait, and hand on what came."""
        workflow.set_current_details(parking.details)
        self._figures.count(int(parking.until is not None))
        is_cancel_requested = False
        try:
            await self._wait(parking)
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            # It ends, and needs no slot for that.
            is_cancel_requested = True
        go_on_in(EXECUTION, self._woken(parking.start, is_cancel_requested=is_cancel_requested))

    async def _wait(self, parking: Parking) -> None:
        if parking.gives_slot:
            await self._ask(LET_GO, parking.start)
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: bool(self._received),
                timeout=seconds_until(parking.until),
                timeout_summary="until the first node goes on",
            )
        if parking.gives_slot and not await self._ask(TAKE_UP, parking.start):
            await workflow.wait_condition(lambda: self._is_admitted)

    async def _ask(self, activity: str, start: StartExecution) -> bool:
        """Ask the gate, and return its answer."""
        answer: bool = await workflow.execute_local_activity(
            activity,
            args=[start.tenant_id, start.execution_id],
            result_type=bool,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
        )
        self._figures.count_local()
        return answer

    @workflow.signal(dynamic=True)
    def on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Keep whatever the interpreter understands, or one of a later release does."""
        self._figures.count()
        if name == ADMITTED:
            self._is_admitted = True
            return
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
