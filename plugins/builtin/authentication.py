"""Credentials as HTTP carries them."""

import base64

from plugins import ApiKeyCredential, BasicCredential, BearerCredential, Context, Permanent


def authentication(ctx: Context, slot: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the headers and the query parameters that the credential in `slot` adds; none when nothing is bound."""
    if not ctx.has_credential(slot):
        return {}, {}
    match ctx.credential(slot):
        case BearerCredential(token=token):
            return {"authorization": f"Bearer {token.reveal()}"}, {}
        case BasicCredential(username=username, password=password):
            pair = base64.b64encode(f"{username}:{password.reveal()}".encode()).decode()
            return {"authorization": f"Basic {pair}"}, {}
        case ApiKeyCredential(name=name, value=value, location="header"):
            return {name.lower(): value.reveal()}, {}
        case ApiKeyCredential(name=name, value=value):
            return {}, {name: value.reveal()}
        case other:
            raise Permanent(
                f"a {type(other).__name__} cannot authenticate an HTTP request", type="credential.unsuitable"
            )
