"""The plugins that come with the gateway, written as a stranger would write them."""

from collections.abc import Mapping

from plugins import Plugin
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.desk import Desk
from plugins.builtin.email.plugin import email_plugins
from plugins.builtin.email.server import SmtpServer
from plugins.builtin.http import http_request
from plugins.builtin.stock import stock_plugin
from plugins.builtin.sync.plugin import data_sync
from plugins.builtin.webhook import webhook_deliver


def builtins(
    *,
    smtp: SmtpServer | None = None,
    connections: SmtpConnections | None = None,
    desk: Desk | None = None,
    quotes: Mapping[str, str] | None = None,
) -> tuple[Plugin, ...]:
    """Return every built-in plugin, with the services of this installation.

    Args:
        smtp: sends mails where no credential is bound; see `plugins.builtin.email.server.parse_smtp_url`.
        connections: to mail servers; by default each serves one mail and is closed.
        desk: knows the tenants' senders and templates; by default there are none.
        quotes: base URLs of quote providers by name, e.g. ``{"default": "https://quotes.example.com"}``.
    """
    return (
        http_request,
        *email_plugins(smtp, connections or SmtpConnections(idle=0), desk or Desk()),
        webhook_deliver,
        stock_plugin(quotes or {}),
        data_sync,
    )


#: every built-in plugin, with no services of an installation
BUILTINS: tuple[Plugin, ...] = builtins()
