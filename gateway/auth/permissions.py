"""What each role may do. A route declares one permission; a key's scopes can only narrow its role."""

from typing import Any, Literal

Role = Literal["admin", "owner", "editor", "runner", "viewer", "service"]

#: roles that a tenant's keys may have; `admin` is the installation's own key
TenantRole = Literal["owner", "editor", "runner", "viewer", "service"]

#: a route that needs no principal: probes, the API's description, and webhooks, whose token is the permission
PUBLIC = "public"

_VIEW = frozenset(
    {"me.read", "limits.read", "workflows.read", "executions.read", "jobs.read", "plugins.read", "definitions.validate"}
)
_RUN = _VIEW | {"executions.start", "executions.control"}
_EDIT = _RUN | {
    "workflows.write",
    "jobs.write",
    "credentials.read",
    "credentials.write",
    "webhooks.read",
    "webhooks.write",
    "webhooks.publish",
    "mails.read",
    "mails.write",
}
_OWN = _EDIT | {
    "keys.read",
    "keys.write",
    "jobs.limit",
    "audit.read",
    "usage.read",
    "vault.read",
    "vault.rotate",
    "payloads.read",
}
#: a program's key does most harm where nobody watches it: it has jobs to do, outbound webhooks among them
_SERVE = frozenset({"me.read", "limits.read", "plugins.read", "jobs.read", "jobs.write", "webhooks.publish"})
_ADMINISTER = frozenset(
    {
        "me.read",
        "plugins.read",
        "tenants.read",
        "tenants.write",
        "keys.read",
        "keys.write",
        "jobs.limit",
        "audit.read",
        "usage.read",
        "vault.read",
        "vault.rotate",
        "tenants.shred",
    }
)

PERMISSIONS: dict[Role, frozenset[str]] = {
    "admin": _ADMINISTER,
    "owner": _OWN,
    "editor": _EDIT,
    "runner": _RUN,
    "viewer": _VIEW,
    "service": _SERVE,
}

#: every permission that a route may declare
KNOWN: frozenset[str] = frozenset({PUBLIC}).union(*PERMISSIONS.values())


def granted(role: Role, scopes: tuple[str, ...]) -> frozenset[str]:
    """Return what a key with this role and these scopes may do; without scopes, all that its role may."""
    return PERMISSIONS[role] & {*scopes, "me.read"} if scopes else PERMISSIONS[role]


def requires(permission: str) -> dict[str, Any]:
    """Declare the permission of a route: ``@get("/v1/jobs", opt=requires("jobs.read"))``.

    Raises:
        ValueError: no role grants `permission`.
    """
    if permission not in KNOWN:
        raise ValueError(f"{permission!r} is granted by no role; add it to gateway.auth.permissions")
    return {"permission": permission}
