"""JSON Schemas for forms, derived from a plugin's types."""

from typing import Any

import msgspec

from plugins.sdk.plugin import Plugin


def config_schema(plugin: Plugin) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a plugin's config."""
    return msgspec.json.schema(plugin.config)


def output_schema(plugin: Plugin) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a plugin's output; ``{}`` (anything) for an untyped one."""
    return {} if plugin.output is Any else msgspec.json.schema(plugin.output)
