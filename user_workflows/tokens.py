"""Tokens in URLs: whoever has one may do what it stands for. Its row is found by its hash."""

import hashlib
import secrets


def new_token() -> str:
    """Return a token of 256 bits that nobody can guess."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """Return the hash of a token, or of anything that somebody shows as one."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
