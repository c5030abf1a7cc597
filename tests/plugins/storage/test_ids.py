"""Ids: unlike any other, and in the order in which they were made."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from plugins.storage.ids import first_id, id_of, new_id


def test_an_id_is_a_prefix_and_a_ulid() -> None:
    assert re.fullmatch(r"job_0[0-9a-hjkmnp-tv-z]{25}", new_id("job"))


def test_a_moment_and_ten_bytes_are_written_as_the_specification_has_it() -> None:
    at = datetime(2016, 7, 30, 22, 36, 16, 385_000, tzinfo=UTC)
    assert id_of("fir", at, bytes(10)) == "fir_01aryz6s410000000000000000"
    assert id_of("fir", at, bytes(9) + b"\x21") == "fir_01aryz6s410000000000000011"
    assert id_of("fir", at, b"\xff" * 10) == "fir_01aryz6s41zzzzzzzzzzzzzzzz"


def test_ids_sort_as_they_were_made_within_a_millisecond_too() -> None:
    made = [new_id("wf") for _ in range(5_000)]
    assert made == sorted(set(made))


def test_threads_make_no_id_twice() -> None:
    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda _: [new_id("ex") for _ in range(2_000)], range(8))
        assert len({id for part in parts for id in part}) == 16_000


def test_the_first_id_of_a_moment_is_below_all_that_are_made_after_it() -> None:
    moment = datetime.now(UTC)
    assert first_id("aud", moment) <= new_id("aud") < first_id("aud", moment + timedelta(hours=1))
