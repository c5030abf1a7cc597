"""A value is made of every type that a plugin may declare, fits it, and is the same each time."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from plugins.builtin import BUILTINS
from user_workflows.rehearsal.samples import sample


class Row(Struct, rename="camel"):
    row_id: Annotated[int, Meta(ge=5, le=9)]
    share: Annotated[float, Meta(gt=-3, lt=-1)]
    name: Annotated[str, Meta(min_length=8)]
    code: Annotated[str, Meta(max_length=2)]
    kind: Literal["b", "a"]
    at: datetime
    tags: list[str]
    inner: "Row | None"
    extra: dict[str, int]
    status: Annotated[int, Meta(examples=[404])]
    steps: Annotated[int, Meta(ge=1, multiple_of=10)]
    open: bool = False


@pytest.mark.parametrize("plugin", BUILTINS, ids=lambda plugin: plugin.id)
def test_the_output_of_every_built_in_plugin_can_be_made(plugin: Any) -> None:
    msgspec.convert(sample(plugin.output).value, plugin.output)


def test_constraints_examples_and_names_are_kept() -> None:
    made = sample(Row)
    msgspec.convert(made.value["rowId"], Annotated[int, Meta(ge=5, le=9)])
    value = made.value | {"inner": None}
    msgspec.convert(value, Row)
    assert value["rowId"] == 5
    assert value["share"] == -2.0
    assert value["name"] == "namexxxx"
    assert value["code"] == "co"
    assert value["kind"] in ("a", "b")
    assert value["status"] == 404
    assert value["steps"] == 10
    assert made is sample(Row)


def test_a_type_that_holds_itself_ends_and_what_it_says_nothing_of_is_named() -> None:
    class Answer(Struct):
        body: Any
        rows: list[Any]

    assert sample(Row).unknown
    assert sample(Answer).unknown == ("body", "rows.0")
    assert sample(Answer).value == {"body": None, "rows": [None]}
    assert sample(Any).unknown == ("",)
