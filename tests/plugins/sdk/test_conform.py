from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct, field

from plugins import Secret
from plugins.sdk.conform import Nonconforming, conform


class Part(Struct, forbid_unknown_fields=True):
    size: Annotated[int, Meta(ge=1, le=5)]
    kind: Literal["a", "b"] = "a"


class Whole(Struct, rename="camel", forbid_unknown_fields=True):
    top_part: Part
    parts: list[Part] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    kind: Literal["x", "y"] = "x"
    secret: Secret | None = None

    def __post_init__(self) -> None:
        if self.kind == "y" and not self.parts:
            raise ValueError("kind y needs parts")


GOOD: dict[str, Any] = {"topPart": {"size": 1}}


def flaws(value: Any) -> set[tuple[str, str]]:
    with pytest.raises(Nonconforming) as caught:
        conform(Whole, value)
    return {(flaw.pointer, flaw.detail) for flaw in caught.value.flaws}


def test_what_has_the_form_is_decoded() -> None:
    whole = conform(Whole, {**GOOD, "parts": [{"size": 2, "kind": "b"}], "secret": "s"})
    assert whole.parts == [Part(2, "b")]
    assert whole.secret == Secret("s")


def test_every_flaw_is_found_at_once() -> None:
    value = {"topPart": {"size": 9, "odd": 1}, "counts": {"a": "b"}, "kind": "z", "secret": 5, "extra": 1}
    assert flaws(value) == {
        ("/topPart/size", "expected `int` <= 5"),
        ("/topPart/odd", "unknown key 'odd'"),
        ("/counts", "expected `int`, got `str`"),
        ("/kind", "must be one of 'x', 'y'"),
        ("/secret", "expected `str`"),
        ("/extra", "unknown key 'extra'"),
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, {("/topPart", "is required")}),
        ({"topPart": {}}, {("/topPart/size", "is required")}),
        ({**GOOD, "toppart": 1}, {("/toppart", "unknown key 'toppart'; did you mean 'topPart'?")}),
        ({**GOOD, "a/b~c": 1}, {("/a~1b~0c", "unknown key 'a/b~c'")}),
        ({**GOOD, "parts": [{"size": 1}, {"size": "x"}]}, {("/parts/1/size", "expected `int`, got `str`")}),
        ({**GOOD, "parts": [{"size": 1, "kind": "z"}]}, {("/parts/0/kind", "must be one of 'a', 'b'")}),
        (
            {**GOOD, "parts": [{}, {"size": 1}, {"size": 9}]},
            {("/parts/0/size", "is required"), ("/parts/2/size", "expected `int` <= 5")},
        ),
        ({**GOOD, "parts": [{}]}, {("/parts/0/size", "is required")}),
        ({**GOOD, "parts": [{"size": 1, "odd": 2}]}, {("/parts/0/odd", "unknown key 'odd'")}),
        ({**GOOD, "counts": {5: 1}}, {("/counts", "a key of it: expected `str`, got `int`")}),
        ({**GOOD, "kind": "y"}, {("", "kind y needs parts")}),
        ([], {("", "expected `object`, got `array`")}),
        (None, {("", "expected `object`, got `null`")}),
    ],
)
def test_a_flaw_is_named_where_it_is(value: Any, expected: set[tuple[str, str]]) -> None:
    assert flaws(value) == expected


def test_no_flaw_repeats_a_value() -> None:
    value = {
        "topPart": {"size": 1, "kind": "canary"},
        "kind": "canary",
        "counts": {"a": "canary"},
        "secret": ["canary"],
    }
    assert "canary" not in repr(flaws(value))
