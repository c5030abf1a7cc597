import json

import pytest
from rich.console import Console

from gateway.cli.errors import Refusal
from gateway.cli.output import Output, cell, make_table, printable, seconds_between, shortened


def test_what_others_wrote_cannot_command_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2Jname\x9b31m"
    assert printable(hostile) == "�]0;owned��[2Jname�31m"
    assert cell(hostile).plain == printable(hostile)
    assert printable("two\nlines\tand [bold]") == "two\nlines\tand [bold]"


def test_an_id_is_never_cut_however_narrow_the_terminal() -> None:
    id = "ex_01m84f68weahbrpey93ywhqz35"
    console = Console(width=50, force_terminal=False)
    with console.capture() as captured:
        console.print(make_table(("id", "name"), [(id, "a name that is far too long for what is left of the line")]))
    assert id in captured.get()


def test_a_table_in_json_is_the_raw_answer(capsys: pytest.CaptureFixture[str]) -> None:
    raw = [{"id": "wf_1", "name": "Grüße"}]
    Output(as_json=True).table(("id",), [("wf_1",)], raw=raw, empty="none")
    assert json.loads(capsys.readouterr().out) == raw


def test_an_empty_table_says_so_to_people_and_is_an_empty_list_to_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).table(("id",), [], raw=[], empty="There are no jobs.")
    assert capsys.readouterr().out == "There are no jobs.\n"
    Output(as_json=True).table(("id",), [], raw=[], empty="There are no jobs.")
    assert json.loads(capsys.readouterr().out) == []


def test_long_values_are_cut_and_times_become_durations() -> None:
    assert shortened({"a": "x" * 200}, 20) == '{"a": "xxxxxxxxxxxx…'
    assert seconds_between("2026-01-01T00:00:00Z", "2026-01-01T00:00:01.5Z") == "1.50 s"
    assert seconds_between(None, None) is None


@pytest.mark.parametrize(
    ("status", "code"), [(400, 4), (401, 4), (404, 3), (409, 4), (422, 4), (429, 4), (500, 1), (503, 5)]
)
def test_each_kind_of_refusal_has_its_exit_code(status: int, code: int) -> None:
    assert Refusal(status, "title", "detail").exit_code == code


def test_a_refusal_shows_title_detail_and_every_pointer(capsys: pytest.CaptureFixture[str]) -> None:
    errors = [{"pointer": "/nodes/0/config", "detail": "is [missing]"}, {"pointer": "", "detail": "is no object"}]
    Refusal(422, "The definition has faults", "Two things are wrong.", errors).show()
    said = capsys.readouterr().err
    assert "The definition has faults (422)" in said
    assert "Two things are wrong." in said
    assert "/nodes/0/config  is [missing]" in said
    assert "/  is no object" in said
