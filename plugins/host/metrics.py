"""What the host counts, for Prometheus."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

#: outcome: completed, replayed (from the ledger), transient, permanent, canceled
CALLS = Counter("gateway_plugin_calls_total", "Attempts of plugin calls, by how they ended.", ["plugin", "outcome"])

SECONDS = Histogram(
    "gateway_plugin_call_seconds",
    "How long attempts of plugin calls took, ledger and credentials included.",
    ["plugin", "outcome"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)

ABANDONED_THREADS = Gauge(
    "gateway_plugin_threads_abandoned", "Threads of plain plugin functions that outlived their call."
)

ABANDONED_TASKS = Gauge(
    "gateway_plugin_tasks_abandoned", "Calls of async plugin functions that did not stop when told."
)

# Each series is looked for among all, under a lock, when it is asked for by its labels. These are few, and asked for by
# every call.
calls = cache(CALLS.labels)
seconds_of = cache(SECONDS.labels)
