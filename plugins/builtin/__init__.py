"""The plugins that come with the gateway, written as a stranger would write them."""

from collections.abc import Mapping

from plugins import Plugin
from plugins.builtin.email import email_plugin
from plugins.builtin.http import http_request
from plugins.builtin.smtp import SmtpServer
from plugins.builtin.stock import stock_plugin
from plugins.builtin.sync.plugin import data_sync
from plugins.builtin.webhook import webhook_deliver


def builtins(*, smtp: SmtpServer | None = None, quotes: Mapping[str, str] | None = None) -> tuple[Plugin, ...]:
    """Return every built-in plugin, with the services of this installation.

    Args:
        smtp: sends mails where no credential is bound; see `plugins.builtin.smtp.parse_smtp_url`.
        quotes: base URLs of quote providers by name, e.g. ``{"default": "https://quotes.example.com"}``.
    """
    return (http_request, email_plugin(smtp), webhook_deliver, stock_plugin(quotes or {}), data_sync)


#: every built-in plugin, with no services of an installation
BUILTINS: tuple[Plugin, ...] = builtins()
