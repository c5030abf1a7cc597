"""``/v1/plugins``: what a node may be, with the schemas that editors draw forms from."""

from typing import Any, Literal

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from gateway.auth.permissions import requires
from gateway.errors import Absent
from gateway.routes.pages import Page
from plugins.host.registry import Registry
from plugins.sdk.credential import Slot
from plugins.sdk.effect import Effect
from plugins.sdk.plugin import Plugin
from plugins.sdk.schema import config_schema, output_schema


class PluginBody(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    version: str
    description: str
    #: ``byConfig``: it depends on the config, e.g. on a method
    effect: Effect | Literal["byConfig"]
    ports: tuple[str, ...]
    #: JSON Schema 2020-12
    config_schema: dict[str, Any]
    output_schema: dict[str, Any]
    credentials: tuple[Slot, ...]


@get("/v1/plugins", opt=requires("plugins.read"))
async def list_plugins(registry: NamedDependency[Registry]) -> Page[PluginBody]:
    """List the installed plugins, by id."""
    plugins = sorted(registry, key=lambda plugin: plugin.id)
    return Page(items=[_body(plugin) for plugin in plugins], next_cursor=None)


@get("/v1/plugins/{plugin_id:str}", opt=requires("plugins.read"))
async def show_plugin(plugin_id: FromPath[str], registry: NamedDependency[Registry]) -> PluginBody:
    """Show a plugin."""
    plugin = registry.find(plugin_id)
    if plugin is None:
        raise Absent(f"There is no plugin {plugin_id}.")
    return _body(plugin)


def _body(plugin: Plugin) -> PluginBody:
    return PluginBody(
        id=plugin.id,
        version=plugin.version,
        description=plugin.description,
        effect="byConfig" if callable(plugin.effect) else plugin.effect,
        ports=plugin.ports,
        config_schema=config_schema(plugin),
        output_schema=output_schema(plugin),
        credentials=plugin.credentials,
    )


ROUTES = [list_plugins, show_plugin]
