"""What a tenant has settled about its mails, and a plugin asks for when it sends one."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from plugins.builtin.email.template import Template


class Identity(Struct, frozen=True, kw_only=True):
    """As whom a tenant sends."""

    #: where a mail names no sender
    sender: str | None = None
    #: where a mail says nothing of answers
    reply_to: str | None = None
    #: what it may name as its sender, by the installation's server; see `senders.SenderPattern`
    granted: tuple[str, ...] = ()


async def _nobody(_tenant_id: str) -> Identity:
    return Identity()


async def _nothing(_tenant_id: str, _name: str) -> Template | None:
    return None


class Desk(Struct, frozen=True, kw_only=True):
    """Answers by tenant. Each may raise a `PluginError` when it cannot."""

    identity: Callable[[str], Awaitable[Identity]] = _nobody
    template: Callable[[str, str], Awaitable[Template | None]] = _nothing
