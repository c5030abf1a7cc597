import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.vault.cipher import KEY_SIZE, Sealer
from plugins.vault.errors import Unreadable

ONE, TWO = os.urandom(KEY_SIZE), os.urandom(KEY_SIZE)
PLACE = "execution.input:ex_1"


def sealer(tenant_id: str = "ten_a", *, keys: dict[int, bytes] | None = None, sealing: int = 1) -> Sealer:
    return Sealer(tenant_id, keys or {1: ONE}, sealing)


@given(st.binary())
def test_what_was_sealed_opens_at_its_place(data: bytes) -> None:
    assert sealer().open(sealer().seal(data, PLACE), PLACE) == data


def test_json_values_come_back_equal() -> None:
    value = {"a": [1, 2.5, None, True], "ü": {"b": "x" * 10_000}}
    sealed = sealer().seal_json(value, PLACE)
    assert sealer().open_json(sealed, PLACE) == value
    assert len(sealed) < 200


def test_threads_may_share_a_sealer() -> None:
    shared, values = sealer(), [{"n": n, "text": "x" * 5_000} for n in range(200)]

    def round_trip(value: dict[str, object]) -> object:
        return shared.open_json(shared.seal_json(value, PLACE), PLACE)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(round_trip, values)) == values


def test_equal_values_are_sealed_differently() -> None:
    assert sealer().seal(b"same", PLACE) != sealer().seal(b"same", PLACE)


def test_plaintext_does_not_show_in_what_is_sealed() -> None:
    assert b"canary" not in sealer().seal(b"canary", PLACE)


def test_another_place_does_not_open() -> None:
    sealed = sealer().seal(b"data", PLACE)
    with pytest.raises(Unreadable, match=r"execution\.output does not open"):
        sealer().open(sealed, "execution.output:ex_1")


def test_another_tenant_does_not_open_even_with_the_same_key() -> None:
    sealed = sealer("ten_a").seal(b"data", PLACE)
    with pytest.raises(Unreadable):
        sealer("ten_b").open(sealed, PLACE)


def test_tenant_and_place_cannot_be_shifted_into_each_other() -> None:
    sealed = sealer("ten_a").seal(b"data", "b:c")
    with pytest.raises(Unreadable):
        sealer("ten_ab").open(sealed, ":c")


def test_every_single_changed_byte_is_noticed() -> None:
    sealed = sealer().seal(b"data", PLACE)
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        with pytest.raises(Unreadable):
            sealer().open(bytes(changed), PLACE)


@pytest.mark.parametrize("length", [0, 1, 16, 32])
def test_cut_data_is_unreadable(length: int) -> None:
    with pytest.raises(Unreadable):
        sealer().open(sealer().seal(b"", PLACE)[:length], PLACE)


def test_what_an_older_key_sealed_opens_after_a_rotation() -> None:
    old = sealer().seal(b"old", PLACE)
    rotated = sealer(keys={1: ONE, 2: TWO}, sealing=2)
    assert rotated.open(old, PLACE) == b"old"
    assert rotated.open(rotated.seal(b"new", PLACE), PLACE) == b"new"
    with pytest.raises(Unreadable, match="key version 2"):
        sealer().open(rotated.seal(b"new", PLACE), PLACE)


def test_a_later_format_is_named() -> None:
    sealed = b"\x09" + sealer().seal(b"data", PLACE)[1:]
    with pytest.raises(Unreadable, match="sealing format 9"):
        sealer().open(sealed, PLACE)


def test_a_message_names_the_column_and_never_the_object() -> None:
    with pytest.raises(Unreadable) as caught:
        sealer().open(b"x" * 64, "execution.input:ex_secret")
    assert "ex_secret" not in str(caught.value)
