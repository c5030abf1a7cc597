"""Which operators and functions take which kinds of values: asked of themselves, with a sample of each kind.

What fails for a sample because of its type fails for every value of that kind. What comes out is claimed only of
operators, and of the functions whose result has one type whatever they are given.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, Final

from user_workflows.expressions.budget import Meter
from user_workflows.expressions.errors import BudgetExceeded, EvaluationError
from user_workflows.expressions.functions import FUNCTIONS, METHODS
from user_workflows.expressions.kinds import BOOL, DOUBLE, INT, STRING, Kind, KindName, Kinds, list_of
from user_workflows.expressions.operators import OPERATORS, negate
from user_workflows.expressions.times import SECOND, Duration, Timestamp
from user_workflows.expressions.values import TYPES, Type

_SAMPLES: Final[Mapping[KindName, Any]] = {
    "null": None,
    "bool": True,
    "int": 1,
    "double": 1.5,
    "string": "1",
    "list": [],
    "map": {},
    "timestamp": Timestamp(0),
    "duration": Duration(SECOND),
    "type": Type("int"),
}
_NAMES: Final[Mapping[str, KindName]] = {
    TYPES[type(sample)].name: name for name, sample in _SAMPLES.items() if type(sample) in TYPES
}

#: kinds of arguments that are tried together
_MAX_TRIED = 64

_TEXTS = list_of(STRING)
#: functions, and methods after a dot, whose result is of one kind whatever they are given
_RESULTS: Final[Mapping[str, Kinds]] = {
    **dict.fromkeys(("size", "int", "ceil", "floor", "trunc", ".size", ".indexOf", ".lastIndexOf"), INT),
    **dict.fromkeys(("double", "sqrt", "log", "avg", "math.sqrt", ".avg"), DOUBLE),
    **dict.fromkeys(("bool", "matches", "regex.matches", "sets.contains", "sets.intersects", "sets.equivalent"), BOOL),
    **dict.fromkeys((".contains", ".startsWith", ".endsWith", ".matches"), BOOL),
    **dict.fromkeys(("string", "json.encode", "base64.encode", "base64.encodeUrl", "base64.decode"), STRING),
    **dict.fromkeys(("url.encode", "url.decode", "url.query", "regex.replace", "strings.quote"), STRING),
    **dict.fromkeys((".charAt", ".substring", ".replace", ".join", ".lower", ".upper", ".lowerAscii"), STRING),
    **dict.fromkeys((".upperAscii", ".title", ".capitalize", ".trim", ".trimStart", ".trimEnd", ".format"), STRING),
    **dict.fromkeys((".padStart", ".padEnd", ".repeat", ".quote"), STRING),
    **dict.fromkeys((".split", ".lines", "regex.extractAll"), _TEXTS),
    **dict.fromkeys((".getFullYear", ".getMonth", ".getDate", ".getDayOfMonth", ".getDayOfWeek"), INT),
    **dict.fromkeys((".getDayOfYear", ".getHours", ".getMinutes", ".getSeconds", ".getMilliseconds"), INT),
    **dict.fromkeys(("range", "lists.range"), list_of(INT)),
    **dict.fromkeys(
        (".slice", ".take", ".skip", ".flatten", ".sort", ".distinct", ".concat", ".append"), list_of(None)
    ),
    **dict.fromkeys((".compact", ".zip", ".keys", ".values", ".entries"), list_of(None)),
    ".chunk": list_of(list_of(None)),
    **dict.fromkeys((".fromEntries", ".merge", ".pick", ".omit"), (Kind("map"),)),
    "timestamp": (Kind("timestamp"),),
    "timestamp.parse": (Kind("timestamp"),),
    "duration": (Kind("duration"),),
    "type": (Kind("type"),),
}


@lru_cache(maxsize=1024)
def binary(operator: str, left: KindName, right: KindName) -> KindName | None:
    """Return the kind of ``left operator right``; ``None``: there is no such operator."""
    try:
        value = OPERATORS[operator](Meter(), _SAMPLES[left], _SAMPLES[right])
    except EvaluationError:
        return None
    return _NAMES[TYPES[type(value)].name]


@lru_cache(maxsize=16)
def is_negatable(kind: KindName) -> bool:
    try:
        negate(_SAMPLES[kind])
    except EvaluationError:
        return False
    return True


def result_of(name: str, *, method: bool) -> Kinds:
    """Return the kind of what a function gives, whatever it is given."""
    return _RESULTS.get(f".{name}" if method else name)


def refusal(name: str, arguments: Sequence[Kinds], *, method: bool) -> str | None:
    """Return why a function, or a method with its receiver first, takes no values of these kinds; ``None``: it may."""
    known = [tuple(kind.name for kind in kinds) for kinds in arguments if kinds is not None]
    if len(known) < len(arguments) or not known:
        return None
    tried = 1
    for names in known:
        tried *= len(names)
    if tried > _MAX_TRIED:
        return None
    refusals = [_refusal(name, names, method) for names in product(*known)]
    return None if None in refusals else refusals[0]


@lru_cache(maxsize=4096)
def _refusal(name: str, arguments: tuple[KindName, ...], method: bool) -> str | None:
    function = (METHODS if method else FUNCTIONS).get(name)
    if function is None or not function.least <= len(arguments) - method <= function.most:
        return None  # a fault of its own
    try:
        function.call(Meter(), *(_SAMPLES[kind] for kind in arguments))
    except EvaluationError as error:
        return error.message if error.reason == "noSuchOverload" else None
    except BudgetExceeded:
        return None
    return None
