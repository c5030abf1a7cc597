"""Allowances: starts that are urgent, or modest, as many as people make and no more."""

from user_workflows.fairness.allowance import URGENT, Allowances


def test_a_tenant_has_a_burst_of_urgent_starts_and_then_so_many_a_second() -> None:
    at = 100.0
    urgent = Allowances(URGENT, lambda: at)
    assert [urgent.take("ten_a") for _ in range(int(URGENT.burst) + 5)] == [True] * int(URGENT.burst) + [False] * 5
    assert urgent.take("ten_b")
    at += 1
    assert [urgent.take("ten_a") for _ in range(int(URGENT.rate) + 1)] == [True] * int(URGENT.rate) + [False]
    at += 1_000
    assert sum(urgent.take("ten_a") for _ in range(100)) == URGENT.burst


def test_a_start_that_is_not_urgent_any_more_costs_nothing_of_the_next_second() -> None:
    at = 0.0
    urgent = Allowances(URGENT, lambda: at)
    while urgent.take("ten_a"):
        pass
    for _ in range(1_000):
        assert not urgent.take("ten_a")
    at += 1 / URGENT.rate
    assert urgent.take("ten_a")
