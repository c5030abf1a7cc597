"""`webhook.deliver`: tells a receiver that something happened, by the Standard Webhooks specification."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from plugins import Context, Permanent, Signing, SigningCredential, plugin
from plugins.builtin.status import status_error
from plugins.signing import InvalidSecret, StandardWebhooks


class WebhookDelivery(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    url: Annotated[str, Meta(pattern=r"^https?://", max_length=8192, description="Where the receiver listens.")]
    event: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*$(?!\n)", max_length=128, description="E.g. invoice.paid"),
    ]
    data: Annotated[Any, Meta(description="What the receiver needs to know.")] = None


class WebhookDelivered(Struct, frozen=True, kw_only=True):
    status: int


@plugin("webhook.deliver", version="1.0.0", effect="idempotent", credentials=[Signing("signing", optional=True)])
async def webhook_deliver(config: WebhookDelivery, ctx: Context) -> WebhookDelivered:
    """Send an event to a webhook, signed by Standard Webhooks where a signing credential is bound.

    Each attempt carries the same ``webhook-id``, by which the receiver knows what it has already had.
    """
    now = datetime.now(UTC)
    body = msgspec.json.encode({"type": config.event, "timestamp": now, "data": config.data})
    headers = {"content-type": "application/json"}
    headers |= _signed(ctx, id=f"msg_{ctx.idempotency_key}", timestamp=int(now.timestamp()), body=body)
    # A receiver that moved says so in its settings: following would sign for whom it was not meant.
    response = await ctx.http.request("POST", config.url, headers=headers, content=body, follow_redirects=False)
    if not 200 <= response.status < 300:
        raise status_error(response)
    return WebhookDelivered(status=response.status)


def _signed(ctx: Context, *, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    if not ctx.has_credential("signing"):
        return {"webhook-id": id, "webhook-timestamp": str(timestamp)}
    credential = ctx.credential("signing")
    if not isinstance(credential, SigningCredential):
        raise Permanent("the credential in slot 'signing' cannot sign", type="credential.unsuitable")
    try:
        return StandardWebhooks().sign(credential.secret, id=id, timestamp=timestamp, body=body)
    except InvalidSecret as error:
        raise Permanent(str(error), type="credential.unsuitable") from None
