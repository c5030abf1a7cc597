"""Regular expressions, by RE2 alone: its time is linear in the text, whatever the pattern.

Source: cel-spec doc/langdef.md (Regular expressions), github.com/google/re2/wiki/Syntax.
"""

from typing import Any, Final

import re2

from user_workflows.expressions.budget import CONTAINER, MAX_PATTERN, Meter, weight
from user_workflows.expressions.errors import EvaluationError, PatternTooLong
from user_workflows.expressions.functions.arguments import as_text, invalid, within
from user_workflows.expressions.functions.function import Function

#: bytes that RE2 may use for one pattern
_MAX_MEMORY = 512 * 1024
#: instructions that RE2 may compile a pattern to
_MAX_PROGRAM = 2_000


def _compile(meter: Meter, pattern: Any, name: str, *, groups: bool = True) -> Any:
    if len(as_text(pattern, name)) > MAX_PATTERN:
        raise PatternTooLong(f"{name}: the pattern is longer than {MAX_PATTERN} characters")
    known = meter.patterns.get((pattern, groups))
    if known is not None:
        return known
    meter.work(100 + 2 * len(pattern))
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    # Finding groups is many times slower than finding whether there is a match.
    options.never_capture = not groups
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError):
        raise EvaluationError(f"{name}: the pattern is no RE2 regular expression", reason="invalidPattern") from None
    if compiled.programsize > _MAX_PROGRAM:
        raise EvaluationError(f"{name}: the pattern repeats too much", reason="invalidPattern")
    meter.work(compiled.programsize)
    meter.patterns[pattern, groups] = compiled
    return compiled


def _charge(meter: Meter, compiled: Any, text: Any, name: str) -> None:
    """Charge one pass over `text` by its worst case, in which RE2 walks every instruction at every character."""
    as_text(text, name)
    meter.work(10 + (len(text) * (8 + compiled.programsize) >> 5))


def _matches(meter: Meter, text: Any, pattern: Any) -> bool:
    compiled = _compile(meter, pattern, "matches", groups=False)
    _charge(meter, compiled, text, "matches")
    return _first(compiled, text, "matches") is not None


def _first(compiled: Any, text: str, name: str) -> Any:
    try:
        return compiled.search(text)
    except UnicodeEncodeError:
        raise invalid(f"{name}(): the string holds half a character") from None


def _taken(match: Any) -> str | None:
    """Return what a match stands for: its group if the pattern has one, else all of it."""
    found = match.group(1) if match.re.groups else match.group()
    return None if found is None else str(found)


def _extract(meter: Meter, text: Any, pattern: Any) -> str | None:
    """Return the first match, or of a pattern with a group that group; null when nothing matches."""
    compiled = _one_group(meter, pattern, "regex.extract")
    _charge(meter, compiled, text, "regex.extract")
    match = _first(compiled, text, "regex.extract")
    return None if match is None else _taken(match)


def _extract_all(meter: Meter, text: Any, pattern: Any) -> list[str]:
    compiled = _one_group(meter, pattern, "regex.extractAll")
    found = []
    for match in _each_match(meter, compiled, text, "regex.extractAll"):
        taken = _taken(match)
        if taken is not None:
            meter.allocate_text(taken)
            found.append(taken)
    return found


def _replace(meter: Meter, text: Any, pattern: Any, replacement: Any, times: Any = -1) -> str:
    r"""Replace matches, all or the first `times`; ``\1`` to ``\9`` in the replacement are groups, ``\0`` all."""
    compiled = _compile(meter, pattern, "regex.replace")
    within(times, -1, 2**63 - 1, "regex.replace")
    pieces: list[str] = []
    end = 0
    template = _template(as_text(replacement, "regex.replace"), compiled.groups)
    for match in _each_match(meter, compiled, text, "regex.replace"):
        if len(pieces) // 2 == times:
            break
        made = "".join(part if isinstance(part, str) else match.group(part) or "" for part in template)
        meter.allocate_text(made)
        pieces += [text[end : match.start()], made]
        end = match.end()
    pieces.append(text[end:])
    meter.allocate(CONTAINER + sum(map(weight, pieces)))
    return "".join(pieces)


def _each_match(meter: Meter, compiled: Any, text: Any, name: str) -> Any:
    _charge(meter, compiled, text, name)
    try:
        for match in compiled.finditer(text):
            meter.work(32 + (len(match.group()) >> 4))
            yield match
    except UnicodeEncodeError:
        raise invalid(f"{name}(): the string holds half a character") from None


def _one_group(meter: Meter, pattern: Any, name: str) -> Any:
    compiled = _compile(meter, pattern, name)
    if compiled.groups > 1:
        raise invalid(f"{name}(): the pattern has more than one group; write (?:…) for the others")
    return compiled


def _template(replacement: str, groups: int) -> list[str | int]:
    first, *parts = replacement.split("\\")
    template: list[str | int] = [first]
    literal = False
    for part in parts:
        if literal:
            template.append(part)
            literal = False
        elif not part:
            template.append("\\")
            literal = True
        elif part[0].isdecimal() and int(part[0]) <= groups:
            template += [int(part[0]), part[1:]]
        else:
            raise invalid("regex.replace(): in the replacement \\ is followed by the number of a group, or by \\")
    if literal:
        raise invalid("regex.replace(): the replacement ends with a single \\")
    return template


def _check(pattern: Any) -> object:
    return _compile(Meter(), pattern, "a regular expression")


METHODS: Final = {"matches": Function(_matches, 1, 1, ((0, _check),))}
FUNCTIONS: Final = {
    "matches": Function(_matches, 2, 2, ((1, _check),)),
    "regex.matches": Function(_matches, 2, 2, ((1, _check),)),
    "regex.extract": Function(_extract, 2, 2, ((1, _check),)),
    "regex.extractAll": Function(_extract_all, 2, 2, ((1, _check),)),
    "regex.replace": Function(_replace, 3, 4, ((1, _check),)),
}
