"""What goes wrong with keys and credentials, and the tree of it.

    VaultError
    ├── Unreadable              sealed bytes that no key opens, or that were moved, cut or changed
    ├── KeysDestroyed           the tenant was shredded
    ├── UnknownTenant
    ├── MasterKeyError          the master key file is absent, open to others, or lacks a version
    ├── KeyNotFound             the tenant has no data key of that version
    ├── KeyNeeded               something is sealed with a key that was to be destroyed
    ├── InvalidCredential       with every fault
    ├── CredentialNotFound
    ├── NotAuthorizable         no person can authorize this credential
    ├── UnknownAuthorization    nobody began it, or it is over
    └── AuthorizationFailed     the provider, or the person, did not agree

No message holds plaintext, a key, or a value of a credential.
"""

from collections.abc import Sequence

from plugins.sdk.conform import Flaw


class VaultError(Exception):
    """A key or a credential could not be used."""


class Unreadable(VaultError):
    """Sealed data could not be opened: it was damaged, moved from its place, or its key is gone."""


class KeysDestroyed(VaultError):
    """The tenant's keys were destroyed; what they sealed can never be read again."""


class UnknownTenant(VaultError):
    """There is no such tenant, so there can be no key for it."""


class MasterKeyError(VaultError):
    """The master key cannot be used; the message says how to mend it."""


class KeyNotFound(VaultError):
    """The tenant has no data key of this version, or not any more."""


class KeyNeeded(VaultError):
    """A key cannot be destroyed: something is sealed with it, or may still be."""


class InvalidCredential(VaultError):
    """A credential was refused. `faults` has everything that is wrong, none of it with a value in it."""

    def __init__(self, faults: Sequence[Flaw]) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in faults))
        self.faults = tuple(faults)


class CredentialNotFound(VaultError):
    """The tenant has no credential with this id."""

    def __init__(self, credential_id: str) -> None:
        super().__init__(f"there is no credential {credential_id!r}")
        self.credential_id = credential_id


class NotAuthorizable(VaultError):
    """A person cannot authorize this credential."""


class UnknownAuthorization(VaultError):
    """Nobody began this authorization, it was finished already, or it took too long."""


class AuthorizationFailed(VaultError):
    """The provider did not authorize. `reason` is its own word, cut to what is harmless to show."""

    def __init__(self, reason: str) -> None:
        self.reason = reason if reason.isascii() and reason.isprintable() and len(reason) <= 64 else "unknown reason"
        super().__init__(f"the provider did not authorize: {self.reason}")
