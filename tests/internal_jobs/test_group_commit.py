import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import OperationalError

from internal_jobs.group_commit import GroupCommit


class Ledger:
    """Writes numbers; refuses negative ones, and everything while it is away."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.is_away = False
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def write(self, items: Sequence[int]) -> list[str]:
        self.groups.append(list(items))
        await self.may_write.wait()
        if self.is_away:
            raise OperationalError("insert", None, Exception("away"))
        if any(item < 0 for item in items):
            raise ValueError("negative")
        return [f"wrote {item}" for item in items]


async def test_what_arrives_during_a_write_shares_the_next() -> None:
    ledger = Ledger()
    commit = GroupCommit(ledger.write)
    ledger.may_write.clear()
    first = asyncio.create_task(commit.submit(0))
    while not ledger.groups:
        await asyncio.sleep(0)
    rest = [asyncio.create_task(commit.submit(number)) for number in range(1, 6)]
    await asyncio.sleep(0)
    ledger.may_write.set()
    assert await asyncio.gather(first, *rest) == [f"wrote {number}" for number in range(6)]
    assert ledger.groups == [[0], [1, 2, 3, 4, 5]]


async def test_what_this_process_is_about_to_submit_joins_the_group() -> None:
    """As requests do that were read in one turn of the loop, and are begun in the next."""
    ledger = Ledger()
    commit = GroupCommit(ledger.write)
    first = asyncio.create_task(commit.submit(0))
    await asyncio.sleep(0)
    second = asyncio.create_task(commit.submit(1))
    await asyncio.gather(first, second)
    assert ledger.groups == [[0, 1]]


async def test_where_two_may_be_written_at_once_a_group_does_not_wait_for_the_one_before() -> None:
    """And what arrives while both are being written shares the next."""
    ledger = Ledger()
    commit = GroupCommit(ledger.write, at_once=2)
    ledger.may_write.clear()
    submitted = []
    for group in ([0, 1], [2, 3]):
        submitted += [asyncio.create_task(commit.submit(number)) for number in group]
        async with asyncio.timeout(60):
            while not ledger.groups or ledger.groups[-1] != group:
                await asyncio.sleep(0)
    for number in (4, 5):
        submitted.append(asyncio.create_task(commit.submit(number)))
        for _ in range(10):
            await asyncio.sleep(0)
    assert ledger.groups == [[0, 1], [2, 3]]
    ledger.may_write.set()
    assert await asyncio.gather(*submitted) == [f"wrote {number}" for number in range(6)]
    assert ledger.groups == [[0, 1], [2, 3], [4, 5]]
    assert await commit.submit(6) == "wrote 6", "there is a writer again"


@pytest.mark.parametrize("at_once", [1, 2])
async def test_whatever_the_moment_of_a_submission_it_is_written(at_once: int) -> None:
    ledger = Ledger()
    commit = GroupCommit(ledger.write, at_once=at_once)

    async def submit(first: int) -> None:
        for number in range(first, first + 100):
            for _ in range(number % 7):
                await asyncio.sleep(0)
            assert await commit.submit(number) == f"wrote {number}"

    async with asyncio.timeout(60):
        await asyncio.gather(*(submit(100 * each) for each in range(10)))
    assert sorted(number for group in ledger.groups for number in group) == list(range(1_000))


async def test_groups_have_a_limit() -> None:
    ledger = Ledger()
    commit = GroupCommit(ledger.write, limit=2)
    await asyncio.gather(*(commit.submit(number) for number in range(5)))
    assert [len(group) for group in ledger.groups] == [2, 2, 1]


async def test_an_item_that_spoils_its_group_fails_alone() -> None:
    ledger = Ledger()
    commit = GroupCommit(ledger.write)
    answers = await asyncio.gather(*(commit.submit(number) for number in (1, -1, 2)), return_exceptions=True)
    assert answers[0] == "wrote 1"
    assert isinstance(answers[1], ValueError)
    assert answers[2] == "wrote 2"


async def test_a_database_that_is_away_is_asked_once_for_the_whole_group() -> None:
    ledger = Ledger()
    ledger.is_away = True
    commit = GroupCommit(ledger.write)
    answers = await asyncio.gather(*(commit.submit(number) for number in range(3)), return_exceptions=True)
    assert all(isinstance(answer, OperationalError) for answer in answers)
    assert len(ledger.groups) == 1


async def test_whoever_stopped_waiting_before_the_write_is_left_out() -> None:
    ledger = Ledger()
    commit = GroupCommit(ledger.write)
    ledger.may_write.clear()
    first = asyncio.create_task(commit.submit(0))
    while not ledger.groups:
        await asyncio.sleep(0)
    given_up = asyncio.create_task(commit.submit(1))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    ledger.may_write.set()
    await first
    assert await commit.submit(2) == "wrote 2"
    assert ledger.groups == [[0], [2]]
