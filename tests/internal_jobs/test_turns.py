from internal_jobs.turns import take_turns


def test_tenants_share_the_window_equally() -> None:
    assert take_turns(["a", "b", "c"], {}, 6) == {"a": 2, "b": 2, "c": 2}


def test_who_holds_places_already_waits_until_the_others_have_as_many() -> None:
    assert take_turns(["a", "b"], {"a": 4}, 4) == {"b": 4}
    assert take_turns(["a", "b"], {"a": 2}, 4) == {"a": 1, "b": 3}


def test_among_equals_the_first_in_turn_gets_the_odd_place() -> None:
    assert take_turns(["b", "c", "a"], {}, 4) == {"b": 2, "c": 1, "a": 1}


def test_a_full_window_and_an_empty_backlog_give_nothing() -> None:
    assert take_turns(["a"], {"a": 9}, 0) == {}
    assert take_turns([], {}, 5) == {}
