import pytest

from plugins import Effect, Permanent, PluginError, Transient
from plugins.host.retry import DEFAULT, MAX_RETRY_AFTER, Retry, next_delay

NOTHING = Transient("refused", effect="none")
UNKNOWN = Transient("timed out")
OWN = Retry(max_attempts=5)


@pytest.mark.parametrize(
    ("effect", "retry", "error", "retried"),
    [
        # without a policy of its own
        ("pure", None, UNKNOWN, True),
        ("read", None, UNKNOWN, True),
        ("idempotent", None, UNKNOWN, True),
        ("unsafe", None, UNKNOWN, False),
        ("unsafe", None, NOTHING, True),
        # its own policy is consent
        ("read", OWN, UNKNOWN, True),
        ("idempotent", OWN, UNKNOWN, True),
        ("unsafe", OWN, UNKNOWN, True),
        ("unsafe", OWN, NOTHING, True),
        # permanent errors are never retried
        ("read", None, Permanent("404"), False),
        ("read", OWN, Permanent("404"), False),
        ("read", OWN, PluginError("odd", type="odd"), False),
        # nor are those that the policy names
        ("read", Retry(non_retryable=("http.503",)), Transient("503", type="http.503"), False),
        ("read", Retry(non_retryable=("http.503",)), Transient("502", type="http.502"), True),
    ],
)
def test_the_effect_the_policy_and_the_error_decide(
    effect: Effect, retry: Retry | None, error: PluginError, retried: bool
) -> None:
    assert (next_delay(retry, effect, 1, error) is not None) is retried


@pytest.mark.parametrize(("retry", "last"), [(None, 4), (Retry(max_attempts=2), 2), (Retry(max_attempts=1), 1)])
def test_attempts_end(retry: Retry | None, last: int) -> None:
    for attempt in range(1, last):
        assert next_delay(retry, "read", attempt, UNKNOWN) is not None
    assert next_delay(retry, "read", last, UNKNOWN) is None


def test_by_default_a_step_is_tried_three_times_more() -> None:
    assert DEFAULT.max_attempts == 4


def test_waits_grow_up_to_the_longest_and_never_by_more_than_the_policy_says() -> None:
    retry = Retry(initial_interval="1s", backoff=3, max_interval="10s", max_attempts=1000)
    for attempt, full in ((1, 1), (2, 3), (3, 9), (4, 10), (999, 10)):
        delays = [next_delay(retry, "read", attempt, UNKNOWN) for _ in range(50)]
        assert all(delay is not None and 0.75 * full <= delay <= full for delay in delays)
        assert len(set(delays)) > 1, "a crowd that failed together is spread"


@pytest.mark.parametrize("backoff", [1, 10])
def test_the_last_of_a_thousand_attempts_is_still_computed(backoff: float) -> None:
    retry = Retry(max_attempts=1000, backoff=backoff, max_interval="1m")
    delay = next_delay(retry, "read", 999, UNKNOWN)
    assert delay is not None
    assert delay <= 60


@pytest.mark.parametrize(("asked", "waited"), [(0, 0), (7, 7), (-5, 0), (1e9, MAX_RETRY_AFTER)])
def test_what_the_other_side_asks_for_is_honoured_within_reason(asked: float, waited: float) -> None:
    assert next_delay(None, "unsafe", 1, Transient("429", effect="none", retry_after=asked)) == waited
