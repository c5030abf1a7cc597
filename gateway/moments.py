"""Moments that a caller gives in a query."""

from datetime import datetime

from gateway.errors import BadRequest, BodyFault


def moment(name: str, given: datetime | None) -> datetime | None:
    """Return a query's time if it says when it is.

    Args:
        name: of the parameter.
        given: its value.

    Raises:
        BadRequest: it has no offset.
    """
    if given is not None and given.tzinfo is None:
        detail = "needs an offset, e.g. 2030-01-31T09:00:00Z"
        raise BadRequest(f"{name} {detail}.", errors=[BodyFault(name, detail)])
    return given
