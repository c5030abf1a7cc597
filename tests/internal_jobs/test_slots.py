"""Slots say how many jobs of a lane run at a time, and let the next begin while ends are written down."""

from internal_jobs.slots import UNWRITTEN, Slots


def test_a_slot_is_free_when_its_attempt_is_over_and_its_message_when_that_is_written_down() -> None:
    slots = Slots(4)
    slots.take(4)
    assert slots.free() == 0
    slots.leave(3)
    assert (slots.free(), slots.taken, slots.ended()) == (3, 4, [])
    slots.end(["a", "b", "c"])
    assert (slots.free(), slots.taken, slots.ended()) == (3, 1, ["a", "b", "c"])


def test_what_cannot_be_written_down_holds_the_next_up_when_it_is_much() -> None:
    slots = Slots(2)
    for free in (*[2] * (1 + UNWRITTEN), 0):
        assert slots.free() == free
        slots.take(free)
        slots.leave(free)
    slots.end(["a"])
    assert slots.free() == 1


def test_closed_slots_let_nothing_more_in() -> None:
    slots = Slots(2)
    slots.take(1)
    slots.close()
    slots.leave(1)
    assert slots.free() == 0


def test_whoever_fetches_is_woken_when_there_is_room_and_not_for_an_acknowledgement_alone() -> None:
    slots = Slots(2)
    for _ in range(UNWRITTEN):
        slots.take(2)
        slots.leave(2)
        assert slots.wait(0)
    slots.take(2)
    slots.end(["a", "b"])
    assert not slots.wait(0), "all slots are taken"
    slots.leave(2)
    assert slots.wait(0)
    slots.take(2)
    slots.leave(2)
    assert not slots.wait(0), "as many remain to be written down as may"
    slots.end(["c"])
    assert slots.wait(0)
