"""The desk of `email.send` and `email.sendTemplate`: what they ask of the database, and how its absence looks."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from plugins.builtin.email.desk import Desk, Identity
from plugins.builtin.email.template import Template
from plugins.mail.errors import TemplateNotFound
from plugins.mail.senders import Senders
from plugins.mail.templates import Templates, template_of
from plugins.sdk.errors import Permanent, Transient
from plugins.vault.errors import VaultError

T = TypeVar("T")


def open_desk(senders: Senders, templates: Templates) -> Desk:
    async def identity(tenant_id: str) -> Identity:
        return await _asked(senders.identity(tenant_id))

    async def template(tenant_id: str, name: str) -> Template | None:
        try:
            return template_of(await _asked(templates.get(tenant_id, name)))
        except TemplateNotFound:
            return None

    return Desk(identity=identity, template=template)


async def _asked(question: Coroutine[Any, Any, T]) -> T:
    try:
        return await question
    except VaultError as error:
        raise Permanent(str(error), type="vault.unreadable") from None
    except (SQLAlchemyError, OSError) as error:
        raise Transient("the database does not answer", type="storage.unavailable", effect="none") from error
