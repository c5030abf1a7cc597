"""Urgent starts: as many as people make, and no more."""

from user_workflows.fairness.urgency import BURST, RATE, Urgency


def test_a_tenant_has_a_burst_of_urgent_starts_and_then_so_many_a_second() -> None:
    at = 100.0
    urgency = Urgency(lambda: at)
    assert [urgency.take("ten_a") for _ in range(int(BURST) + 5)] == [True] * int(BURST) + [False] * 5
    assert urgency.take("ten_b")
    at += 1
    assert [urgency.take("ten_a") for _ in range(int(RATE) + 1)] == [True] * int(RATE) + [False]
    at += 1_000
    assert sum(urgency.take("ten_a") for _ in range(100)) == BURST


def test_a_start_that_is_not_urgent_any_more_costs_nothing_of_the_next_second() -> None:
    at = 0.0
    urgency = Urgency(lambda: at)
    while urgency.take("ten_a"):
        pass
    for _ in range(1_000):
        assert not urgency.take("ten_a")
    at += 1 / RATE
    assert urgency.take("ten_a")
