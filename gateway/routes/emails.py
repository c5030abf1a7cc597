"""``/v1/email-sender``, ``/v1/email-templates``: what tenants settle about their mails, and what they are granted."""

from typing import Annotated, Any

import msgspec
from litestar import delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from msgspec import Meta, Struct, field

from gateway.audit.middleware import UNAUDITED
from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.errors import BodyFault, InvalidBody
from gateway.routes.pages import Page
from gateway.routes.tenants import require_tenant
from plugins.builtin.email.template import Template, fill_in
from plugins.mail.senders import EmailGrant, EmailSender, Senders
from plugins.mail.templates import StoredTemplate, Templates, template_of
from plugins.sdk.errors import Permanent
from plugins.storage.database import Database


class SenderBody(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who a tenant's mails come from where they say nothing else, and what it may name besides."""

    from_: str | None = field(name="from")
    reply_to: str | None
    #: granted by the administrator
    allowed: tuple[str, ...]


class Filling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: Annotated[dict[str, Any], Meta(description="What the template is filled in with.")] = {}


class FilledBody(Struct, frozen=True, kw_only=True):
    subject: str
    text: str | None
    html: str | None


@get("/v1/email-sender", opt=requires("mails.read"))
async def show_email_sender(principal: NamedDependency[Principal], senders: NamedDependency[Senders]) -> SenderBody:
    """Show who the tenant's mails come from, and what it may name as their sender."""
    return await _sender(senders, principal.tenant_id)


@put("/v1/email-sender", opt=requires("mails.write"))
async def put_email_sender(
    data: JSONBody[EmailSender], principal: NamedDependency[Principal], senders: NamedDependency[Senders]
) -> SenderBody:
    """Settle who the tenant's mails come from where they say nothing else, and where answers go.

    By the installation's mail server it counts as far as it is granted (`allowed`); a mail server of the tenant's own
    decides for itself.
    """
    await senders.settle(principal.tenant_id, data)
    return await _sender(senders, principal.tenant_id)


@get("/v1/tenants/{tenant_id:str}/email-senders", opt=requires("tenants.read"))
async def show_email_grant(
    tenant_id: FromPath[str], database: NamedDependency[Database], senders: NamedDependency[Senders]
) -> EmailGrant:
    """Show what a tenant may name as its sender by the installation's mail server."""
    await require_tenant(database, tenant_id)
    return EmailGrant(allowed=(await senders.identity(tenant_id)).granted)


@put("/v1/tenants/{tenant_id:str}/email-senders", opt=requires("tenants.write"))
async def put_email_grant(
    tenant_id: FromPath[str],
    data: JSONBody[EmailGrant],
    database: NamedDependency[Database],
    senders: NamedDependency[Senders],
) -> EmailGrant:
    """Grant a tenant senders, in place of what it had: addresses, `*@example.com`, `*@*.example.com`, or `*`."""
    await require_tenant(database, tenant_id)
    await senders.grant(tenant_id, data)
    return data


@get("/v1/email-templates", opt=requires("mails.read"))
async def list_email_templates(
    principal: NamedDependency[Principal], templates: NamedDependency[Templates]
) -> Page[StoredTemplate]:
    """List the templates of mails, by name; there are at most 1,000."""
    return Page(items=await templates.list(principal.tenant_id), next_cursor=None)


@get("/v1/email-templates/{template_name:str}", opt=requires("mails.read"))
async def show_email_template(
    template_name: FromPath[str], principal: NamedDependency[Principal], templates: NamedDependency[Templates]
) -> StoredTemplate:
    """Show a template."""
    return await templates.get(principal.tenant_id, template_name)


@put("/v1/email-templates/{template_name:str}", opt=requires("mails.write"))
async def put_email_template(
    template_name: FromPath[str],
    data: JSONBody[Template],
    principal: NamedDependency[Principal],
    templates: NamedDependency[Templates],
) -> StoredTemplate:
    """Store a template for `email.sendTemplate`, in place of an earlier one of its name."""
    return await templates.put(principal.tenant_id, template_name, data)


@delete("/v1/email-templates/{template_name:str}", opt=requires("mails.write"), status_code=HTTP_204_NO_CONTENT)
async def delete_email_template(
    template_name: FromPath[str], principal: NamedDependency[Principal], templates: NamedDependency[Templates]
) -> None:
    """Forget a template; mails that name it fail from now on."""
    await templates.delete(principal.tenant_id, template_name)


@post(
    "/v1/email-templates/{template_name:str}/render",
    opt=requires("mails.read") | UNAUDITED,
    status_code=HTTP_200_OK,
)
async def render_email_template(
    template_name: FromPath[str],
    data: JSONBody[Filling],
    principal: NamedDependency[Principal],
    templates: NamedDependency[Templates],
) -> FilledBody:
    """Fill in a template, and send nothing."""
    template = template_of(await templates.get(principal.tenant_id, template_name))
    try:
        return msgspec.convert(fill_in(template, data.data), FilledBody, from_attributes=True)
    except Permanent as error:
        raise InvalidBody("The template cannot be filled in.", errors=[BodyFault("/data", error.message)]) from None


async def _sender(senders: Senders, tenant_id: str) -> SenderBody:
    identity = await senders.identity(tenant_id)
    return SenderBody(from_=identity.sender, reply_to=identity.reply_to, allowed=identity.granted)


ROUTES = [
    show_email_sender,
    put_email_sender,
    show_email_grant,
    put_email_grant,
    list_email_templates,
    show_email_template,
    put_email_template,
    delete_email_template,
    render_email_template,
]
