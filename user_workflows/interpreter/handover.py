"""When a run of an execution ends for another to go on, and with what state (design §6, Unlimited length)."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import NoReturn

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from user_workflows.interpreter.carrying import first_wake
from user_workflows.interpreter.journal import Journal
from user_workflows.interpreter.messages import EXECUTION, PARKED, Carried, Parking, StartExecution
from user_workflows.interpreter.valve import Valve
from user_workflows.interpreter.walk import Walk
from user_workflows.interpreter.writing import too_large


class Handover:
    """Watches one run: it is to end when its history has become long, or when it is asked to park and only waits.

    Args:
        start: of the run.
        walk: of the execution.
        valve: of that walk.
        journal: numbers its changes.
        deadline: of the whole execution.
        checkpoint: makes the records of all steps durable.
        take_down: returns the state, as plain messages.
    """

    def __init__(
        self,
        start: StartExecution,
        walk: Walk,
        valve: Valve,
        journal: Journal,
        *,
        deadline: str | None,
        checkpoint: Callable[[], Awaitable[None]],
        take_down: Callable[[], Carried],
    ) -> None:
        self._start = start
        self._walk = walk
        self._valve = valve
        self._journal = journal
        self._deadline = deadline
        self._checkpoint = checkpoint
        self._take_down = take_down
        self._is_asked_to_park = False
        self._is_off = False
        #: what the next run is handed, as soon as it is to go on
        self.carried: Carried | None = None
        #: whether the next run only waits
        self.is_parking = False

    def ask_to_park(self) -> None:
        """Park if everything that remains waits for long."""
        self._is_asked_to_park = self._may_park()

    def call_off(self) -> None:
        """The execution ends in this run."""
        self._is_off = True

    async def watch(self) -> None:
        """Begin nothing more when the time has come, let what runs end, record it, and end the walk.

        What was to park and is woken meanwhile goes on in the same run.
        """
        while self.carried is None:
            await workflow.wait_condition(lambda: self._is_asked_to_park or self.is_long)
            self._is_asked_to_park = False
            self._valve.drain()
            while self.carried is None and self._valve.is_draining:
                await workflow.wait_condition(lambda: self._walk.is_at_rest)
                seq = self._journal.seq
                await self._checkpoint()
                await workflow.wait_condition(partial(self._has_taken_down, seq))
        self._walk.halt()

    def _has_taken_down(self, recorded: int) -> bool:
        """Take down the state, if it is still what was recorded; Temporal asks when nothing else is left to do.

        Taken down later, it would lack a signal that a node has taken and not yet settled with.
        """
        if self._is_off:
            return False
        if self._walk.is_at_rest and self._journal.seq == recorded:
            self.is_parking = self._may_park()
            self.carried = self._take_down()
        elif not self.is_long:
            self._valve.refill()
        return True

    @property
    def is_long(self) -> bool:
        """Whether the history of this run is to end."""
        info, limit = workflow.info(), self._start.history_limit
        length = info.get_current_history_length()
        # By its bytes a history may be long at once, when much was handed over: it has to get somewhere all the same.
        return length >= limit or (info.is_continue_as_new_suggested() and length >= limit // 8)

    def _may_park(self) -> bool:
        if not self._walk.is_at_rest or self._walk.is_held:
            return False
        if self._walk.has_ready and not self._valve.is_paused:
            return False
        wake = self._wake()
        return wake is None or wake - workflow.now() > timedelta(seconds=self._start.park_after)

    def _wake(self) -> datetime | None:
        """Return when the execution goes on though nobody tells it anything."""
        wakes = [first_wake(self._walk), None if self._deadline is None else datetime.fromisoformat(self._deadline)]
        return min((wake for wake in wakes if wake is not None), default=None)

    def end_run(self, following: StartExecution, details: str) -> NoReturn:
        """End this run for the next, of the present build of the worker.

        Raises:
            ExecutionFailed: what is to be handed over is too large to travel.
        """
        try:
            # Refused by `continue_as_new` itself, it would fail the workflow task again and again.
            workflow.payload_converter().to_payload(following)
        except ApplicationError as error:
            raise too_large("the state", error) from error
        if not self.is_parking:
            go_on_in(EXECUTION, following)
        wake = self._wake()
        until = None if wake is None else wake.isoformat()
        go_on_in(PARKED, Parking(start=following, until=until, details=details, gives_slot=True))


def go_on_in(workflow_type: str, message: StartExecution | Parking) -> NoReturn:
    """End this run and go on in one of the given type: of the present build, to which the new run is then pinned."""
    workflow.continue_as_new(
        args=[message],
        workflow=workflow_type,
        initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
    )
