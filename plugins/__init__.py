"""The plugin SDK: everything that an author of a plugin imports."""

from plugins.egress.client import Response
from plugins.sdk.context import Context
from plugins.sdk.credential import (
    ApiKey,
    ApiKeyCredential,
    Basic,
    BasicCredential,
    Bearer,
    BearerCredential,
    Database,
    DatabaseCredential,
    Secret,
    Signing,
    SigningCredential,
    Slot,
    Smtp,
    SmtpCredential,
)
from plugins.sdk.duration import DURATION_PATTERN, parse_duration
from plugins.sdk.effect import Effect
from plugins.sdk.errors import Permanent, PluginError, Transient
from plugins.sdk.plugin import Plugin, Port, plugin

__all__ = [
    "DURATION_PATTERN",
    "ApiKey",
    "ApiKeyCredential",
    "Basic",
    "BasicCredential",
    "Bearer",
    "BearerCredential",
    "Context",
    "Database",
    "DatabaseCredential",
    "Effect",
    "Permanent",
    "Plugin",
    "PluginError",
    "Port",
    "Response",
    "Secret",
    "Signing",
    "SigningCredential",
    "Slot",
    "Smtp",
    "SmtpCredential",
    "Transient",
    "parse_duration",
    "plugin",
]
