"""A sender of mails for tests: `email.send` over its own connections, at a real server."""

from typing import Any

from plugins import Plugin, SmtpCredential
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.desk import Desk
from plugins.builtin.email.plugin import email_plugins
from plugins.builtin.email.server import SmtpServer

MAIL: dict[str, Any] = {"to": "ann@example.com", "subject": "Hello"}


def server_at(port: int, **more: Any) -> SmtpServer:
    """A server of the installation that lets everybody send as anybody."""
    credential = SmtpCredential(host="127.0.0.1", port=port, **{"security": "none", **more})
    return SmtpServer(credential=credential, any_sender=True)


def sender_by(port: int, connections: SmtpConnections | None = None, **more: Any) -> Plugin:
    return email_plugins(server_at(port, **more), connections or SmtpConnections(idle=0), Desk())[0]
