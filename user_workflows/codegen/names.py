"""Names in a generated module: Python's conventions, none twice, none that means something else there."""

import keyword
import re
from collections.abc import Iterable

#: what a type checker or linter takes for something else
_MISREAD = frozenset({"l", "o", "i", "self", "cls", "print"})


class Names:
    """Hands out names of one scope, each once.

    Args:
        taken: names that mean something there already.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*taken, *_MISREAD, *keyword.kwlist, *keyword.softkwlist}

    def take(self, wanted: str) -> str:
        """Return `wanted`, or where that is taken the first of ``wanted_2``, ``wanted_3`` … that is not."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def snake(text: str) -> str:
    """Return the name of a method for a node's id: ``sendMail`` → ``send_mail``."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    name = re.sub(r"_+", "_", parts).strip("_").lower()
    return name if name and not name[0].isdigit() else f"node_{name}".rstrip("_")


def pascal(text: str) -> str:
    """Return the name of a class for the name of a workflow: ``Price alert`` → ``PriceAlert``."""
    words = re.findall(r"[A-Za-z0-9]+", text)
    name = "".join(word[0].upper() + word[1:] for word in words)[:60]
    return name if name and not name[0].isdigit() else f"Workflow{name}"


def prose(text: str, limit: int = 90) -> str:
    """Return a user's words as they may stand in a docstring: one line, without quotes and backslashes."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    plain = " ".join(plain.replace("\\", "/").replace('"', "'").split())
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
