"""A provider's token endpoint (RFC 6749 §3.2), reached through the egress guard like everything outside."""

import base64
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec
from msgspec import Meta, Struct

from plugins.egress.client import EgressClient, Response
from plugins.sdk.credential import Secret, decode_secret
from plugins.sdk.errors import Permanent, Transient
from plugins.storage.database import now
from plugins.vault.oauth.client import OAuth2Client
from plugins.vault.oauth.grant import Grant

#: seconds for one answer
TIMEOUT = 10.0
_MOST_BYTES = 256 * 1024
#: a provider that names a longer life is taken at this word
_LONGEST_LIFE = 10 * 365 * 86_400

#: errors that stay until somebody changes the credential or authorizes it anew (§5.2, §4.1.2.1)
_FINAL = frozenset({
    "access_denied", "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "invalid_target",
    "unauthorized_client", "unsupported_grant_type",
})  # fmt: skip
_PASSING = frozenset({408, 425, 429})


class Refused(Exception):
    """The provider grants nothing, and would not if it were asked again."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        #: of RFC 6749 §5.2
        self.code = code


class _Answer(Struct):
    access_token: Annotated[Secret, Meta()] | None = None
    refresh_token: Secret | None = None
    expires_in: int | str | None = None
    error: str | None = None


_decoder = msgspec.json.Decoder(_Answer, dec_hook=decode_secret)


class Provider:
    """Asks token endpoints for tokens. What they answer is never repeated: it may hold what they were sent."""

    def __init__(self, egress: EgressClient) -> None:
        self._egress = egress

    async def with_code(self, client: OAuth2Client, *, code: str, verifier: str, redirect_uri: str) -> Grant:
        """Return what a person's authorization grants (RFC 6749 §4.1.3, RFC 7636 §4.5).

        Raises:
            Refused: for good.
            PluginError: it may grant it another time.
        """
        asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return await self._ask(client, asked | {"code_verifier": verifier})

    async def renewed(self, client: OAuth2Client, grant: Grant) -> Grant:
        """Return what follows `grant`; with a refresh token, which most providers take once (§6).

        Raises:
            Refused, PluginError: as `with_code`.
        """
        if not client.needs_a_person:
            asked = {"grant_type": "client_credentials"}
            if client.scopes:
                asked["scope"] = " ".join(client.scopes)
            if client.audience is not None:
                asked["audience"] = client.audience
            return await self._ask(client, asked)
        if grant.refresh_token is None:
            raise Refused("no_refresh_token")
        renewed = await self._ask(
            client, {"grant_type": "refresh_token", "refresh_token": grant.refresh_token.reveal()}
        )
        # A provider that gives no new one goes on taking the old one.
        return renewed if renewed.refresh_token else msgspec.structs.replace(renewed, refresh_token=grant.refresh_token)

    async def _ask(self, client: OAuth2Client, asked: Mapping[str, str]) -> Grant:
        headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
        if client.client_authentication == "basic":
            headers["authorization"] = _basic(client)
        else:
            asked = {**asked, "client_id": client.client_id, "client_secret": client.client_secret.reveal()}
        begun = now()
        try:
            response = await self._egress.request(
                "POST",
                client.token_url,
                headers=headers,
                content=urlencode(asked).encode(),
                timeout=TIMEOUT,
                # Another place would get the client's secret.
                follow_redirects=False,
                max_bytes=_MOST_BYTES,
            )
        except Transient as error:
            # What the step does has not begun: it may be tried again, whatever became of the tokens.
            raise _unavailable(client, error.message) from None
        answer = _read(response)
        if response.status == 200 and answer.access_token is not None and answer.access_token.reveal():
            life = _seconds(answer.expires_in)
            return Grant(
                access_token=answer.access_token,
                refresh_token=answer.refresh_token,
                obtained_at=begun,
                expires_at=None if life is None else begun + timedelta(seconds=life),
            )
        if answer.error in _FINAL:
            raise Refused(answer.error)
        if response.status >= 500 or response.status in _PASSING or answer.error is not None:
            raise _unavailable(client, f"it answered {response.status}", response)
        raise Permanent(
            f"{_host(client)} answered {response.status} instead of a token; is the credential's tokenUrl right?",
            type="oauth.invalidAnswer",
            status=response.status,
        )


def _read(response: Response) -> _Answer:
    try:
        return _decoder.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Answer()


def _basic(client: OAuth2Client) -> str:
    # Both are encoded as in a form before they are put together (RFC 6749 §2.3.1).
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret.reveal())}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _seconds(text: int | str | None) -> int | None:
    if text is None or not re.fullmatch(r"[0-9]{1,12}", str(text)):
        return None
    return min(int(text), _LONGEST_LIFE)


def _unavailable(client: OAuth2Client, reason: str, response: Response | None = None) -> Transient:
    after = "" if response is None else response.headers.get("retry-after", "")
    return Transient(
        f"{_host(client)} gives no token now: {reason}",
        type="oauth.unavailable",
        effect="none",
        retry_after=float(after) if after.isascii() and after.isdigit() else None,
    )


def _host(client: OAuth2Client) -> str:
    return urlsplit(client.token_url).hostname or "the provider"
