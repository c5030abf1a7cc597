import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from plugins import Context, Plugin, plugin
from plugins.builtin import BUILTINS
from plugins.host.errors import BrokenEntryPoint, DuplicatePlugin, UnknownPlugin, UnusablePlugin
from plugins.host.registry import Registry, discover


class Config(Struct):
    pass


def make(id: str) -> Plugin:
    @plugin(id, version="1.0.0", effect="pure")
    def nothing(config: Config, ctx: Context) -> None:
        return None

    return nothing


STRANGER = """
from msgspec import Struct
from plugins import Context, plugin
from plugins.sdk.plugin import Plugin

class Config(Struct):
    pass

@plugin("{id}", version="1.0.0", effect="pure")
def first(config: Config, ctx: Context) -> None:
    return None

@plugin("{id}.second", version="1.0.0", effect="pure")
def second(config: Config, ctx: Context) -> None:
    return None

also_first = first
both = [first, second]
nothing = []
text = "text"
"""

Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package of a stranger's: its name, its entry point, the plugin id that it uses."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, entry: str, id: str) -> None:
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(STRANGER.format(id=id))
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[gateway.plugins]\nstranger = {module}{entry}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def test_a_plugin_is_found_by_its_id() -> None:
    one, two = make("a.one"), make("a.two")
    registry = Registry([one, two])
    assert registry.get("a.one") is registry.find("a.one") is one
    assert registry.find("a.three") is None
    assert "a.two" in registry
    assert "a.three" not in registry
    assert list(registry) == [one, two]
    assert len(registry) == 2


def test_an_unknown_plugin_is_refused_with_the_nearest_id() -> None:
    with pytest.raises(
        UnknownPlugin, match=r"no plugin 'http\.requst' is installed; did you mean 'http\.request'\?"
    ) as it:
        Registry([make("http.request")]).get("http.requst")
    assert it.value.type == "plugin.unknown"


def test_two_plugins_of_one_id_are_refused_naming_both() -> None:
    def other(config: Config, ctx: Context) -> None:
        return None

    twin = plugin("a.one", version="2.0.0", effect="pure")(other)
    with pytest.raises(
        DuplicatePlugin, match=r"'a\.one' .*make.<locals>\.nothing \(version 1.* and by .*other \(version 2"
    ):
        Registry([make("a.one"), twin])


def test_a_plugin_whose_types_json_cannot_carry_is_refused() -> None:
    class Odd(Struct):
        value: complex

    with pytest.raises(UnusablePlugin, match=r"a\.odd"):
        Registry([plugin("a.odd", version="1.0.0", effect="pure")(_with_config(Odd))])


def _with_config(config: type[Struct]) -> Any:
    def function(config: Any, ctx: Context) -> None:
        return None

    function.__annotations__["config"] = config
    return function


def test_built_in_and_given_plugins_are_discovered_and_a_given_one_replaces_a_built_in() -> None:
    built_in, given, configured = make("a.built"), make("a.given"), make("a.built")
    assert set(discover(builtins=[built_in])) >= {built_in}
    assert set(discover([given, configured], builtins=[built_in])) >= {given, configured}
    assert {plugin.id for plugin in BUILTINS} <= {plugin.id for plugin in discover()}


@pytest.mark.parametrize(
    ("entry", "ids"),
    [
        (":first", {"x.plugin"}),
        (":both", {"x.plugin", "x.plugin.second"}),
        ("", {"x.plugin", "x.plugin.second"}),
    ],
)
def test_plugins_of_other_packages_are_found_by_their_entry_points(install: Install, entry: str, ids: set[str]) -> None:
    install("stranger-one", entry, "x.plugin")
    assert ids == {plugin.id for plugin in discover(builtins=())}


@pytest.mark.parametrize("entry", [":nothing", ":text", ":Config", ":absent", ":first.absent"])
def test_an_entry_point_that_is_no_plugin_is_refused_naming_its_package(install: Install, entry: str) -> None:
    install("stranger-two", entry, "x.plugin")
    with pytest.raises(BrokenEntryPoint, match=f"'stranger' = 'stranger_two{entry}' of stranger-two"):
        discover(builtins=())


def test_a_stranger_cannot_take_the_id_of_another_plugin(install: Install) -> None:
    install("stranger-three", ":first", "a.built")
    with pytest.raises(DuplicatePlugin, match=r"nothing \(version 1.0.0\) and by stranger_three\.first"):
        discover(builtins=[make("a.built")])
