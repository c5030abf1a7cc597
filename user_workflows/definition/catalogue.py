"""What a node can be: control nodes and plugins, seen alike."""

from collections.abc import Mapping
from typing import Any

from plugins.host.registry import Registry
from plugins.sdk.credential import Slot
from plugins.sdk.plugin import Plugin
from user_workflows.definition.control_nodes import CONTROL_NODES, ControlNode

#: the port that a node with ``onError: port`` leaves by when it fails
ERROR_PORT = "error"


class Catalogue:
    """Everything that a `pluginId` may name."""

    def __init__(self, plugins: Registry) -> None:
        self._plugins = plugins

    def find(self, plugin_id: str) -> "ControlNode | Plugin | None":
        return CONTROL_NODES.get(plugin_id) or self._plugins.find(plugin_id)

    def ids(self) -> list[str]:
        return [*CONTROL_NODES, *(plugin.id for plugin in self._plugins)]


def ports_of(kind: ControlNode | Plugin, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ports that a node may leave by when it does not fail, the default first."""
    return kind.ports(config) if isinstance(kind, ControlNode) else kind.ports


def slots_of(kind: ControlNode | Plugin) -> tuple[Slot, ...]:
    return kind.credentials if isinstance(kind, Plugin) else ()
