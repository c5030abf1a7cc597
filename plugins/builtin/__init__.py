"""The plugins that come with the gateway, written as a stranger would write them."""

from plugins.sdk.plugin import Plugin

#: every built-in plugin
BUILTINS: tuple[Plugin, ...] = ()
