"""Which plugins are installed: the built-in ones, those of other packages, and those given by hand."""

import difflib
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from plugins.builtin import BUILTINS
from plugins.host.errors import BrokenEntryPoint, DuplicatePlugin, UnknownPlugin, UnusablePlugin
from plugins.sdk.plugin import Plugin
from plugins.sdk.schema import config_schema, output_schema

#: the entry point group that other packages register under
GROUP = "gateway.plugins"


class Registry:
    """The plugins of this process, by id.

    Raises:
        DuplicatePlugin: two have one id; the message names where each comes from.
        UnusablePlugin: a type of its config or output cannot be written as a JSON Schema.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self._plugins: dict[str, Plugin] = {}
        for plugin in plugins:
            other = self._plugins.setdefault(plugin.id, plugin)
            if other is not plugin:
                raise DuplicatePlugin(
                    f"plugin id {plugin.id!r} is taken twice: by {_origin(other)} and by {_origin(plugin)}"
                )
            _check_types(plugin)

    def get(self, id: str) -> Plugin:
        """Return the plugin `id`.

        Raises:
            UnknownPlugin: none is installed; the message suggests the nearest id.
        """
        plugin = self._plugins.get(id)
        if plugin is None:
            close = difflib.get_close_matches(id, self._plugins, 1)
            raise UnknownPlugin(id, f"; did you mean {close[0]!r}?" if close else "")
        return plugin

    def find(self, id: str) -> Plugin | None:
        return self._plugins.get(id)

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self._plugins.values())

    def __contains__(self, id: object) -> bool:
        return id in self._plugins

    def __len__(self) -> int:
        return len(self._plugins)


def discover(extra: Iterable[Plugin] = (), *, builtins: Iterable[Plugin] = BUILTINS) -> Registry:
    """Find every installed plugin: `builtins`, `extra`, and the entry points of the group ``gateway.plugins``.

    An entry point may name a `Plugin`, an iterable of them, or a module that holds them. A plugin in `extra` takes the
    place of the built-in one with its id: this is how the composition root configures a built-in.

    Raises:
        RegistryError: an entry point cannot be imported or is none of these; two plugins have one id.
    """
    given = tuple(extra)
    ids = {plugin.id for plugin in given}
    found = [plugin for point in entry_points(group=GROUP) for plugin in _load(point)]
    return Registry((*(plugin for plugin in builtins if plugin.id not in ids), *given, *found))


def _load(point: EntryPoint) -> tuple[Plugin, ...]:
    where = f"entry point {point.name!r} = {point.value!r}" + (f" of {point.dist.name}" if point.dist else "")
    try:
        loaded: Any = point.load()
    except Exception as error:
        raise BrokenEntryPoint(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if isinstance(loaded, Plugin):
        return (loaded,)
    if isinstance(loaded, ModuleType):
        # A module may hold one plugin under two names, and others imported for its own use.
        loaded = {id(value): value for value in vars(loaded).values() if isinstance(value, Plugin)}.values()
    plugins = tuple(loaded) if isinstance(loaded, Iterable) else ()
    if not plugins or not all(isinstance(plugin, Plugin) for plugin in plugins):
        raise BrokenEntryPoint(f"{where} is not a Plugin, an iterable of Plugins, or a module that holds some")
    return plugins


def _check_types(plugin: Plugin) -> None:
    try:
        config_schema(plugin)
        output_schema(plugin)
    except TypeError as error:
        raise UnusablePlugin(f"plugin {plugin.id!r} of {_origin(plugin)} cannot be described: {error}") from error


def _origin(plugin: Plugin) -> str:
    return f"{plugin.function.__module__}.{plugin.function.__qualname__} (version {plugin.version})"
