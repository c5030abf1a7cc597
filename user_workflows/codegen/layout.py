"""Python as text, laid out as `ruff format` would: on one line where it fits, else one part to a line."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

WIDTH = 120
INDENT = "    "

#: what a text is cut into when it does not fit on a line
_PIECE = 88


class Text(Struct, frozen=True):
    """A text of the user's; a long one is cut into pieces, after its line breaks where there are any."""

    value: str


class Group(Struct, frozen=True):
    """Something in brackets: a call, a list, a map."""

    opening: str
    parts: "tuple[Part, ...]"
    closing: str


class Pair(Struct, frozen=True):
    """A named argument, or an entry of a map: ``name=`` or ``key: `` before its value."""

    lead: str
    value: "Part"


Part = str | Text | Group | Pair


def call(name: str, *parts: Part) -> Group:
    return Group(f"{name}(", parts, ")")


def literal(value: Any) -> Part:
    """Return a JSON value as Python."""
    if isinstance(value, str):
        return Text(value)
    if isinstance(value, Mapping):
        return Group("{", tuple(Pair(f"{quoted(key)}: ", literal(inner)) for key, inner in value.items()), "}")
    if isinstance(value, Sequence):
        return Group("[", tuple(literal(inner) for inner in value), "]")
    return repr(value)


def lay_out(part: Part, *, depth: int, before: str = "") -> str:
    """Return a statement as lines: what stands `before` the part, and the part, indented by `depth` levels."""
    return INDENT * depth + before + _laid_out(part, depth, len(before), 0)


def quoted(text: str) -> str:
    """Return a string literal, in the quotes that need the fewest escapes."""
    quote = "'" if '"' in text and text.count('"') > text.count("'") else '"'
    return quote + "".join(_escaped(character, quote) for character in text) + quote


def _laid_out(part: Part, depth: int, taken: int, following: int) -> str:
    """Lay a part out.

    Args:
        part: what is laid out.
        depth: of the line that it stands on.
        taken: characters before it on that line, beside the indentation.
        following: characters after it.
    """
    flat = _flat(part)
    if len(INDENT) * depth + taken + len(flat) + following <= WIDTH:
        return flat
    match part:
        case Pair(lead, value):
            return lead + _laid_out(value, depth, taken + len(lead), following)
        case Group(opening, parts, closing) if parts:
            inner = [INDENT * (depth + 1) + _line(each, depth + 1, alone=len(parts) == 1) for each in parts]
            return "\n".join([opening, *inner, INDENT * depth + closing])
        case Text(value) if len(pieces := _pieces(value)) > 1:
            inner = [INDENT * (depth + 1) + quoted(piece) for piece in pieces]
            return "\n".join(["(", *inner, INDENT * depth + ")"])
    return flat


def _line(part: Part, depth: int, *, alone: bool) -> str:
    """Lay out one of several parts, with its comma; pieces of a text that is the only one need no brackets."""
    if alone and isinstance(part, Text) and len(INDENT) * depth + len(_flat(part)) + 1 > WIDTH:
        return f"\n{INDENT * depth}".join(quoted(piece) for piece in _pieces(part.value)) + ","
    return _laid_out(part, depth, 0, 1) + ","


def _flat(part: Part) -> str:
    match part:
        case Text(value):
            return quoted(value)
        case Pair(lead, value):
            return lead + _flat(value)
        case Group(opening, parts, closing):
            return opening + ", ".join(_flat(each) for each in parts) + closing
        case _:
            return part


def _pieces(text: str) -> list[str]:
    """Cut a text after its line breaks, and after spaces where a line would be too long."""
    pieces: list[str] = []
    for line in text.splitlines(keepends=True):
        rest = line
        while len(quoted(rest)) > _PIECE:
            at = _cut(rest)
            pieces.append(rest[:at])
            rest = rest[at:]
            if not rest:
                break
        if rest:
            pieces.append(rest)
    return pieces


def _cut(text: str) -> int:
    """Return where a piece of a text ends: after a space outside of expressions, else after any, else anywhere."""
    spaces = [at + 1 for at in range(1, _PIECE - 2) if text[at] == " "]
    outside = [at for at in spaces if text.count("{{", 0, at) <= text.count("}}", 0, at)]
    return max(outside or spaces, default=_PIECE - 2)


_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escaped(character: str, quote: str) -> str:
    if character == quote:
        return "\\" + character
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
