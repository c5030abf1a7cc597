"""Signatures of webhooks, made and checked over the raw bytes.

A scheme is a frozen Struct of its options with `verify`; another sender's way of signing is another Struct, added to
`Scheme`. Trigger configs name it by ``scheme``.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from plugins.signing.plain import Hmac
from plugins.signing.providers import GitHub, Shopify, Slack, Stripe
from plugins.signing.signature import TOLERANCE, Delivery, HeaderName, InvalidSecret, InvalidSignature
from plugins.signing.standard import StandardWebhooks, new_secret

__all__ = [
    "TOLERANCE",
    "Delivery",
    "GitHub",
    "HeaderName",
    "Hmac",
    "InvalidSecret",
    "InvalidSignature",
    "Scheme",
    "Shopify",
    "Slack",
    "StandardWebhooks",
    "Stripe",
    "new_secret",
    "scheme_of",
]

Scheme = StandardWebhooks | Hmac | Stripe | GitHub | Slack | Shopify


def scheme_of(config: Mapping[str, Any]) -> Scheme:
    """Read the scheme from a webhook trigger's config: ``scheme`` (default ``standard``) and its options.

    Other keys of the config are left alone.

    Raises:
        msgspec.ValidationError: the scheme is unknown or an option has the wrong form.
    """
    scheme: Scheme = msgspec.convert({"scheme": "standard", **config}, Scheme)
    return scheme
