"""The plugin SDK: everything that an author of a plugin imports."""

from plugins.sdk.context import Context
from plugins.sdk.credential import (
    ApiKey,
    ApiKeyCredential,
    Basic,
    BasicCredential,
    Bearer,
    BearerCredential,
    Secret,
    Signing,
    SigningCredential,
    Slot,
    Smtp,
    SmtpCredential,
)
from plugins.sdk.effect import Effect
from plugins.sdk.errors import Permanent, PluginError, Transient
from plugins.sdk.plugin import Plugin, Port, plugin

__all__ = [
    "ApiKey",
    "ApiKeyCredential",
    "Basic",
    "BasicCredential",
    "Bearer",
    "BearerCredential",
    "Context",
    "Effect",
    "Permanent",
    "Plugin",
    "PluginError",
    "Port",
    "Secret",
    "Signing",
    "SigningCredential",
    "Slot",
    "Smtp",
    "SmtpCredential",
    "Transient",
    "plugin",
]
