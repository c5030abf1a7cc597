"""What an execution has cost so far, over all its runs: history events and billable actions.

Actions are counted as Temporal Cloud does (docs.temporal.io/cloud/actions): the start of each run, each activity, timer
and signal, and each workflow task that has local activities, however many. Not counted is what Temporal alone knows:
heartbeats that reach it, and activities that it makes again because a worker was lost.
"""

from temporalio import workflow

from user_workflows.interpreter.messages import Earlier

#: what the last workflow task adds to a history beside markers: its completion, and the end
_LAST_EVENTS = 2


class Figures:
    """Counts one run on top of those before it.

    Args:
        earlier: what those had come to.
    """

    def __init__(self, earlier: Earlier | None) -> None:
        self._events_before = 0 if earlier is None else earlier.history_events
        #: each run is a start
        self.billable_actions = 1 if earlier is None else 1 + earlier.billable_actions
        #: events that the present workflow task adds by its end, such as markers: (events before it, how many)
        self._markers = (0, 0)
        #: the events before the last workflow task that had local activities
        self._local_since = -1

    def count(self, actions: int = 1) -> None:
        self.billable_actions += actions

    def count_marker(self) -> None:
        """Count an event that the present workflow task adds, such as that of a local activity that has ended."""
        length = self.task
        since, count = self._markers
        self._markers = (length, count + 1 if since == length else 1)

    def count_local(self) -> None:
        """Count a local activity of the present workflow task: its marker, and an action for all of that task."""
        self.count_marker()
        if self._local_since != self.task:
            self._local_since = self.task
            self.count()

    @property
    def task(self) -> int:
        """What tells the present workflow task from others of this run."""
        return workflow.info().get_current_history_length()

    def count_timer(self, started_in: int, *, is_taken_back: bool) -> None:
        """Count a timer, and the event of taking it back in the present workflow task.

        One that is taken back in the task that started it never was.
        """
        if not is_taken_back:
            self.count()
        elif started_in != self.task:
            self.count()
            self.count_marker()

    def final_length(self) -> int:
        """Return the events of all runs when this one ends now.

        Those of the present workflow task are not counted by the server yet.
        """
        length = self.task
        since, count = self._markers
        return self._events_before + length + (count if since == length else 0) + _LAST_EVENTS
