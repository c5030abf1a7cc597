"""Short-lived tokens of which nothing is stored: sealed with their tenant's key, the tenant's id before them."""

import base64
import binascii
import re
from typing import Any, TypeVar

import msgspec

from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault

T = TypeVar("T")

#: characters of what is sealed
_LONGEST = 2_000
_FORM = re.compile(rf"([A-Za-z0-9_]{{1,40}})\.([A-Za-z0-9_-]{{1,{_LONGEST}}})")


async def seal(vault: Vault, tenant_id: str, content: Any, place: str) -> str:
    """Return a token that says `content`, good where `place` is asked for.

    Raises:
        VaultError: the tenant is unknown, or its keys were destroyed.
    """
    sealed = (await vault.sealer(tenant_id)).seal_json(content, place)
    return f"{tenant_id}.{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}"


async def unseal(vault: Vault, token: str, place: str, type: type[T]) -> tuple[str, T] | None:
    """Return a token's tenant and content; ``None``: it is none of ours, or of another place."""
    form = _FORM.fullmatch(token)
    if form is None:
        return None
    tenant_id, text = form.groups()
    try:
        sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        opened = (await vault.sealer(tenant_id)).open_json(sealed, place)
        return tenant_id, msgspec.convert(opened, type)
    except (VaultError, binascii.Error, ValueError):
        return None
