"""Functions of strings. Source: cel-go's strings extension, and what JavaScript users look for."""

from typing import Any, Final

from user_workflows.expressions.budget import CONTAINER, ELEMENT, Meter, weight
from user_workflows.expressions.functions.arguments import as_int, as_list, as_text, as_texts, invalid, within
from user_workflows.expressions.functions.formatting import format_text
from user_workflows.expressions.functions.function import Function

_LOWER = {code: code + 32 for code in range(65, 91)}
_UPPER = {code: code - 32 for code in range(97, 123)}
_QUOTED = str.maketrans(
    {
        "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r",
        "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
    }
)  # fmt: skip
#: the characters with Unicode's property White_Space
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"  # fmt: skip  # noqa: E501


def made(meter: Meter, text: str) -> str:
    """Charge a string that a function made, and return it."""
    meter.allocate_text(text)
    return text


def charge_search(meter: Meter, length: int, wanted: int) -> None:
    """Charge a search for `wanted` characters among `length`, by its worst case in CPython."""
    meter.work(length * min(wanted, length, 1_250) >> 10 if length < 30_000 else length >> 5)


def find(meter: Meter, text: str, wanted: Any, start: Any = 0) -> int:
    """Return the place of the first `wanted` from `start` on, or -1."""
    as_text(wanted, "indexOf")
    begin = within(start, 0, max(len(text) - 1, 0) if wanted else len(text), "indexOf")
    charge_search(meter, len(text), len(wanted))
    return text.find(wanted, begin)


def find_last(meter: Meter, text: str, wanted: Any, start: Any = None) -> int:
    """Return the place of the last `wanted` that begins at `start` or before, or -1."""
    as_text(wanted, "lastIndexOf")
    begin = len(text) if start is None else within(start, 0, len(text), "lastIndexOf")
    charge_search(meter, len(text), len(wanted))
    return text.rfind(wanted, 0, begin + len(wanted))


def includes(meter: Meter, text: str, wanted: Any) -> bool:
    as_text(wanted, "contains")
    charge_search(meter, len(text), len(wanted))
    return wanted in text


def backwards(meter: Meter, text: str) -> str:
    return made(meter, text[::-1])


def _starts_with(meter: Meter, text: Any, start: Any) -> bool:
    meter.work(len(as_text(start, "startsWith")) >> 8)
    return as_text(text, "startsWith").startswith(start)


def _ends_with(meter: Meter, text: Any, end: Any) -> bool:
    meter.work(len(as_text(end, "endsWith")) >> 8)
    return as_text(text, "endsWith").endswith(end)


def _char_at(meter: Meter, text: Any, place: Any) -> str:
    as_text(text, "charAt")
    place = within(place, 0, len(text), "charAt")
    return str(text[place : place + 1])


def _substring(meter: Meter, text: Any, start: Any, end: Any = None) -> str:
    as_text(text, "substring")
    begin = within(start, 0, len(text), "substring")
    stop = len(text) if end is None else within(end, begin, len(text), "substring")
    return made(meter, text[begin:stop])


def _replace(meter: Meter, text: Any, old: Any, new: Any, times: Any = -1) -> str:
    as_text(text, "replace"), as_text(old, "replace"), as_text(new, "replace"), as_int(times, "replace")
    charge_search(meter, len(text), len(old))
    count = text.count(old) if old else len(text) + 1
    count = count if times < 0 else min(count, times)
    # Charged before it is made: the result may be far larger than what it is made from.
    meter.allocate(CONTAINER + weight(text) + count * weight(new))
    meter.work(count)
    return str(text.replace(old, new, count))


def _split(meter: Meter, text: Any, separator: Any, limit: Any = -1) -> list[str]:
    as_text(text, "split"), as_text(separator, "split"), as_int(limit, "split")
    if limit == 0:
        return []
    charge_search(meter, len(text), len(separator))
    pieces = text.count(separator) + 1 if separator else len(text)
    pieces = pieces if limit < 0 else min(pieces, limit)
    meter.allocate(CONTAINER + weight(text) + pieces * (ELEMENT + CONTAINER))
    meter.work(pieces)
    if separator:
        return text.split(separator, pieces - 1)  # type: ignore[no-any-return]  # str.split
    return [*text[: pieces - 1], text[pieces - 1 :]] if pieces else []


def _join(meter: Meter, items: Any, separator: Any = "") -> str:
    meter.work(len(as_list(items, "join")))
    texts = as_texts(items, "join")
    as_text(separator, "join")
    meter.allocate(CONTAINER + sum(map(weight, texts)) + len(texts) * weight(separator))
    return str(separator.join(texts))


def _lower_ascii(meter: Meter, text: Any) -> str:
    if as_text(text, "lowerAscii").isascii():
        return made(meter, text.lower())
    meter.work(len(text) >> 2)
    return made(meter, text.translate(_LOWER))


def _upper_ascii(meter: Meter, text: Any) -> str:
    if as_text(text, "upperAscii").isascii():
        return made(meter, text.upper())
    meter.work(len(text) >> 2)
    return made(meter, text.translate(_UPPER))


def _lower(meter: Meter, text: Any) -> str:
    return made(meter, as_text(text, "lower").lower())


def _upper(meter: Meter, text: Any) -> str:
    return made(meter, as_text(text, "upper").upper())


def _title(meter: Meter, text: Any) -> str:
    """Raise the first letter of each word and lower the others; a word ends at white space."""
    words = as_text(text, "title").split(" ")
    meter.work(len(words))
    meter.allocate_list(4 * len(words))
    return made(meter, " ".join(word[:1].upper() + word[1:].lower() for word in words))


def _capitalize(meter: Meter, text: Any) -> str:
    as_text(text, "capitalize")
    return made(meter, text[:1].upper() + text[1:])


def _trim(meter: Meter, text: Any) -> str:
    return made(meter, as_text(text, "trim").strip(_SPACE))


def _trim_start(meter: Meter, text: Any) -> str:
    return made(meter, as_text(text, "trimStart").lstrip(_SPACE))


def _trim_end(meter: Meter, text: Any) -> str:
    return made(meter, as_text(text, "trimEnd").rstrip(_SPACE))


def _padding(meter: Meter, text: Any, length: Any, fill: Any, name: str) -> str:
    as_text(text, name), as_int(length, name), as_text(fill, name)
    if len(fill) != 1:
        raise invalid(f"{name}() pads with one character")
    missing = max(length - len(text), 0)
    meter.allocate(CONTAINER + weight(text) + missing * weight(fill))
    return str(fill * missing)


def _pad_start(meter: Meter, text: Any, length: Any, fill: Any = " ") -> str:
    return _padding(meter, text, length, fill, "padStart") + str(text)


def _pad_end(meter: Meter, text: Any, length: Any, fill: Any = " ") -> str:
    padding = _padding(meter, text, length, fill, "padEnd")
    return str(text) + padding


def _repeat(meter: Meter, text: Any, times: Any) -> str:
    as_text(text, "repeat")
    if as_int(times, "repeat") < 0:
        raise invalid("repeat() needs a number from 0 on")
    meter.allocate(CONTAINER + weight(text) * times)
    return str(text * times)


def _lines(meter: Meter, text: Any) -> list[str]:
    return _split(meter, made(meter, as_text(text, "lines").replace("\r\n", "\n")), "\n")


def _format(meter: Meter, text: Any, values: Any) -> str:
    return format_text(meter, text, values)


def _quote(meter: Meter, text: Any) -> str:
    meter.work(len(as_text(text, "strings.quote")) >> 3)
    meter.allocate(CONTAINER + 2 * weight(text))
    return f'"{text.translate(_QUOTED)}"'


METHODS: Final = {
    "startsWith": Function(_starts_with, 1, 1),
    "endsWith": Function(_ends_with, 1, 1),
    "charAt": Function(_char_at, 1, 1),
    "substring": Function(_substring, 1, 2),
    "replace": Function(_replace, 2, 3),
    "split": Function(_split, 1, 2),
    "join": Function(_join, 0, 1),
    "lowerAscii": Function(_lower_ascii, 0, 0),
    "upperAscii": Function(_upper_ascii, 0, 0),
    "lower": Function(_lower, 0, 0),
    "upper": Function(_upper, 0, 0),
    "title": Function(_title, 0, 0),
    "capitalize": Function(_capitalize, 0, 0),
    "trim": Function(_trim, 0, 0),
    "trimStart": Function(_trim_start, 0, 0),
    "trimEnd": Function(_trim_end, 0, 0),
    "padStart": Function(_pad_start, 1, 2),
    "padEnd": Function(_pad_end, 1, 2),
    "repeat": Function(_repeat, 1, 1),
    "lines": Function(_lines, 0, 0),
    "quote": Function(_quote, 0, 0),
}
FUNCTIONS: Final = {"strings.quote": Function(_quote, 1, 1)}
