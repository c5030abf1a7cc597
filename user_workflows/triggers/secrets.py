"""The secrets of webhook triggers: without one of the tenant's own, nothing is activated."""

from collections.abc import Sequence

from plugins.vault.credentials import Credentials
from plugins.vault.errors import CredentialNotFound
from user_workflows.definition.faults import pointer
from user_workflows.definition.model import Fault, Trigger
from user_workflows.errors import InvalidDefinition
from user_workflows.workflows.tables import is_possible_id


async def require_secrets(credentials: Credentials, tenant_id: str, triggers: Sequence[Trigger]) -> None:
    """See that each webhook trigger has a signing credential of this tenant.

    Raises:
        InvalidDefinition: with a fault for each that has not.
    """
    faults = []
    for index, trigger in enumerate(triggers):
        fault = await _secret_fault(credentials, tenant_id, trigger)
        if fault is not None:
            code, message = fault
            where = pointer("triggers", index, "config", "secret")
            faults.append(Fault(code=code, pointer=where, message=f"trigger {trigger.id}: {message}"))
    if faults:
        raise InvalidDefinition(faults)


async def _secret_fault(credentials: Credentials, tenant_id: str, trigger: Trigger) -> tuple[str, str] | None:
    if trigger.type != "webhook":
        return None
    credential_id = trigger.config["secret"]
    try:
        if not is_possible_id(credential_id):
            raise CredentialNotFound(credential_id)
        record = await credentials.get(tenant_id, credential_id)
    except CredentialNotFound:
        return "trigger.secretUnknown", f"there is no credential {credential_id!r}; bind one of type signing"
    if record.type != "signing":
        return "trigger.secretWrongType", f"its secret is of type {record.type}; bind a credential of type signing"
    return None
