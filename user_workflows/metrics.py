"""What the engine counts and times, for Prometheus."""

from prometheus_client import Counter, Histogram

STARTED = Counter("executions_started_total", "Executions handed to Temporal, by trigger.", ["trigger"])
CLOSED = Counter("executions_closed_total", "Executions that ended, by status.", ["status"])
DURATION = Histogram(
    "executions_seconds",
    "From start to end, by status.",
    ["status"],
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600, 86_400),
)
REPAIRED = Counter(
    "executions_repaired_total", "Records that were closed from what Temporal says, by status.", ["status"]
)
STUCK = Counter("executions_stuck_total", "Checks that found an execution which does not move though it should.")
RECORDS_DELAYED = Counter("executions_records_delayed_total", "Records that could not be written at once.")
FEED_LOST = Counter("executions_feed_lost_total", "Records that watchers of the live feed were not told of.")
