from typing import Any

import pytest
from msgspec import Struct

from plugins import ApiKey, Bearer, Context, Effect, Plugin, Port, plugin


class Config(Struct, forbid_unknown_fields=True):
    method: str = "GET"


def works(config: Config, ctx: Context) -> int:
    """Count something."""
    return 1


def define(function: Any = works, **changes: Any) -> Plugin:
    options: dict[str, Any] = {"id": "count.up", "version": "1.0.0", "effect": "pure"} | changes
    return plugin(options.pop("id"), **options)(function)


def test_a_plugin_is_read_off_its_function() -> None:
    made = define(credentials=[Bearer("auth", optional=True)], ports=["output", "empty"])
    assert (made.id, made.version, made.description) == ("count.up", "1.0.0", "Count something.")
    assert (made.config, made.output, made.is_async) == (Config, int, False)
    assert made.ports == ("output", "empty")
    assert made.credentials == (Bearer("auth", optional=True),)


def test_a_plugin_can_still_be_called() -> None:
    assert define()(Config(), None) == 1


def test_an_async_function_is_told_from_a_plain_one() -> None:
    async def later(config: Config, ctx: Context) -> int:
        return 1

    assert define(later).is_async


def test_the_type_inside_a_port_is_the_output() -> None:
    def leaves(config: Config, ctx: Context) -> Port[list[str]]:
        return Port("output", [])

    assert define(leaves).output == list[str]


def test_an_effect_may_follow_from_the_config() -> None:
    def effect(config: Config) -> Effect:
        return "read" if config.method == "GET" else "unsafe"

    made = define(effect=effect)
    assert made.effect_of(Config()) == "read"
    assert made.effect_of(Config(method="POST")) == "unsafe"


def no_context(config: Config) -> int:
    return 1


def untyped(config, ctx):  # type: ignore[no-untyped-def]  # the fault under test
    return 1


def no_struct(config: dict[str, Any], ctx: Context) -> int:
    return 1


def no_return(config: Config, ctx: Context):  # type: ignore[no-untyped-def]  # the fault under test
    return 1


@pytest.mark.parametrize(
    ("function", "changes", "message"),
    [
        (works, {"id": "Count.Up"}, r"plugin id 'Count.Up' is not of the form noun\.verb"),
        (works, {"id": ""}, "plugin id ''"),
        (works, {"id": "a..b"}, "plugin id 'a..b'"),
        (works, {"version": "1.0"}, r"plugin count\.up: version '1\.0' is not of the form 1\.2\.3"),
        (works, {"ports": []}, r"plugin count\.up: ports \[\] must be at least one"),
        (works, {"ports": ["a", "a"]}, r"plugin count\.up: ports \['a', 'a'\]"),
        (works, {"credentials": [Bearer("x"), ApiKey("x")]}, r"plugin count\.up: credential slots \['x', 'x'\]"),
        (no_context, {}, r"plugin count\.up: no_context must take \(config, ctx\), it takes 1"),
        (untyped, {}, r"plugin count\.up: the first parameter must be annotated with a msgspec Struct, not None"),
        (no_struct, {}, r"plugin count\.up: the first parameter must be annotated .* not dict\[str, typing\.Any\]"),
        (no_return, {}, r"plugin count\.up: no_return must annotate what it returns"),
    ],
)
def test_what_is_not_of_the_required_form_is_refused_naming_both_sides(
    function: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        define(function, **changes)
