"""JSON Pointers (RFC 6901): where something stands in a document."""

from typing import Annotated, Any

from msgspec import Meta

#: the empty one stands for the whole document
Pointer = Annotated[
    str,
    Meta(pattern=r"^(/([^~/]|~[01])*)*$(?!\n)", max_length=1000, description="A JSON Pointer, e.g. /data/items."),
]


def find(document: Any, pointer: str) -> Any:
    """Return what stands at `pointer`, and ``None`` where nothing does."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(key)
        elif isinstance(document, list) and key.isascii() and key.isdigit() and int(key) < len(document):
            document = document[int(key)]
        else:
            return None
    return document
