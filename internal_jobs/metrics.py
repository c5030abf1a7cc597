"""What internal jobs count and time, for Prometheus."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

ENQUEUED = Counter("jobs_enqueued_total", "Jobs accepted, by queue.", ["queue"])
WAKE_FAILURES = Counter("jobs_wake_failures_total", "Wake-ups that Redis did not take; the relay's poll replaces them.")
PUBLISHED = Counter("jobs_published_total", "Messages given to Redis, by queue.", ["queue"])
REPUBLISHED = Counter("jobs_republished_total", "Jobs that the sweeper sent out again, by reason.", ["reason"])
REDIS_UP = Gauge("jobs_redis_up", "Whether this worker reaches Redis.")
STARTED = Counter("jobs_started_total", "Attempts begun, by type.", ["type"])
FINISHED = Counter("jobs_finished_total", "Attempts ended, by type and outcome.", ["type", "outcome"])
LEASES_LOST = Counter("jobs_leases_lost_total", "Attempts whose outcome came after their lease was lost.")

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

START_DELAY = Histogram("jobs_start_delay_seconds", "From due to begun, by queue.", ["queue"], buckets=_QUICK)
DURATION = Histogram("jobs_attempt_seconds", "Length of one attempt, by type.", ["type"], buckets=_QUICK)

# Each series is looked for among all, under a lock, when it is asked for by its labels. These are few, and asked for by
# every job.
started = cache(STARTED.labels)
finished = cache(FINISHED.labels)
start_delay = cache(START_DELAY.labels)
duration = cache(DURATION.labels)
