"""A request whose token was refused is sent once more, with another token."""

from collections.abc import Mapping

from plugins.egress.client import Reauthorize
from plugins.host.scrub import Scrubber
from plugins.sdk.credential import BearerCredential, Secret
from plugins.vault.lending import Lent


def reauthorization(lent: Lent, scrubber: Scrubber) -> Reauthorize | None:
    """Return what the way out does about a 401 to the token that was lent; ``None``: nothing can be done.

    Args:
        lent: the credential.
        scrubber: learns every token that follows.
    """
    if lent.replace is None or not isinstance(lent.credential, BearerCredential):
        return None
    replace, tokens = lent.replace, [lent.credential.token]

    async def reauthorize(headers: Mapping[str, str]) -> Mapping[str, str] | None:
        sent = headers.get("authorization")
        # To another origin it was not sent, and who refused there has not refused it.
        if sent not in [_bearer(token) for token in tokens]:
            return None
        if sent == _bearer(tokens[-1]):
            renewed = await replace(tokens[-1])
            if renewed is None:
                return None
            scrubber.learn(BearerCredential(token=renewed))
            tokens.append(renewed)
        # A plugin that still holds an older one is given the newest.
        return {"authorization": _bearer(tokens[-1])}

    return reauthorize


def _bearer(token: Secret) -> str:
    return f"Bearer {token.reveal()}"
