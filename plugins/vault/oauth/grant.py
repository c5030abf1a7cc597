"""What a provider has granted: tokens, until when they are good, or why it grants no more."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from plugins.sdk.credential import Secret, decode_secret
from plugins.vault.cipher import Sealer
from plugins.vault.oauth.client import OAuth2Client
from plugins.vault.table import grant_place

#: an access token is renewed this long before it ends, or a tenth of its life if that is shorter: the clocks of
#: provider and worker may differ, and a request takes its time
SKEW = timedelta(seconds=60)


class Grant(Struct, frozen=True, kw_only=True, rename="camel"):
    """The tokens of a credential."""

    access_token: Secret | None = None
    refresh_token: Secret | None = None
    obtained_at: datetime | None = None
    #: ``None``: the provider does not say
    expires_at: datetime | None = None
    #: a code of RFC 6749 §5.2, with which the provider ended it
    refused: str | None = None

    def is_good(self, at: datetime) -> bool:
        """Whether the access token need not be renewed yet."""
        if self.access_token is None or self.refused is not None:
            return False
        if self.expires_at is None:
            return True
        life = self.expires_at - self.obtained_at if self.obtained_at else 10 * SKEW
        return at < self.expires_at - min(SKEW, life / 10)

    def is_alive(self, at: datetime) -> bool:
        """Whether the provider still takes the access token, as far as it has said."""
        return self.access_token is not None and (self.expires_at is None or at < self.expires_at)


def first_grant(client: OAuth2Client) -> Grant:
    """Return what a credential starts with."""
    return Grant(access_token=client.access_token, refresh_token=client.refresh_token, expires_at=client.expires_at)


def first_status(client: OAuth2Client) -> str:
    is_granted = client.access_token is not None or client.refresh_token is not None
    return "ok" if is_granted or not client.needs_a_person else "needsAuthorization"


def seal_grant(sealer: Sealer, credential_id: str, grant: Grant) -> bytes:
    return sealer.seal_json(msgspec.to_builtins(grant, enc_hook=_reveal), grant_place(credential_id))


def open_grant(sealer: Sealer, row: Any) -> Grant:
    """Return the tokens in a row of credentials."""
    if row.grant_sealed is None:
        return Grant()
    return msgspec.convert(sealer.open_json(row.grant_sealed, grant_place(row.id)), Grant, dec_hook=decode_secret)


def _reveal(value: Any) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"cannot encode {type(value).__name__}")
