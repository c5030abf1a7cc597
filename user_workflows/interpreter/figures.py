"""What an execution has cost so far, over all its runs: history events and billable actions."""

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

    def count(self, actions: int = 1) -> None:
        self.billable_actions += actions

    def count_marker(self) -> None:
        """Count an event that the present workflow task adds, such as that of a local activity that has ended."""
        length = workflow.info().get_current_history_length()
        since, count = self._markers
        self._markers = (length, count + 1 if since == length else 1)

    def final_length(self, markers: int = 0) -> int:
        """Return the events of all runs when this one ends now, after so many more markers.

        Those of the present workflow task are not counted by the server yet.
        """
        length = workflow.info().get_current_history_length()
        since, count = self._markers
        return self._events_before + length + (count if since == length else 0) + markers + _LAST_EVENTS
