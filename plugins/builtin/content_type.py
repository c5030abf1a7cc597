"""What a Content-Type header says (RFC 9110, 8.3)."""


def media_type(header: str) -> str:
    """Return the type without its parameters, e.g. ``text/csv``; empty where there is none."""
    return header.partition(";")[0].strip().lower()


def charset(header: str) -> str | None:
    """Return the `charset` parameter as it was written, or ``None``."""
    for parameter in header.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"')
    return None
