"""Functions of maps."""

from typing import Any, Final

from user_workflows.expressions.budget import CONTAINER, ELEMENT, Meter
from user_workflows.expressions.functions.arguments import as_list, as_map, invalid, mismatch
from user_workflows.expressions.functions.function import MANY, Function
from user_workflows.expressions.values import as_key, from_key


def _made(meter: Meter, entries: int) -> None:
    meter.work(entries >> 1)
    meter.allocate(CONTAINER + 6 * ELEMENT * entries)


def _keys(meter: Meter, value: Any) -> list[Any]:
    _made(meter, len(as_map(value, "keys")))
    return [from_key(key) for key in value]


def _values(meter: Meter, value: Any) -> list[Any]:
    _made(meter, len(as_map(value, "values")))
    return list(value.values())


def _entries(meter: Meter, value: Any) -> list[dict[str, Any]]:
    """Return ``[{"key": …, "value": …}]``."""
    _made(meter, 3 * len(as_map(value, "entries")))
    return [{"key": from_key(key), "value": item} for key, item in value.items()]


def _from_entries(meter: Meter, value: Any) -> dict[Any, Any]:
    """Return the map of a list of ``{"key": …, "value": …}``; of equal keys the last counts."""
    _made(meter, len(as_list(value, "fromEntries")))
    made: dict[Any, Any] = {}
    for entry in value:
        if type(entry) is not dict or "key" not in entry or "value" not in entry:
            raise invalid('fromEntries() needs a list of {"key": …, "value": …}')
        key = as_key(entry["key"])
        if key is None or type(key) is float:
            raise mismatch("fromEntries", "a string, int or bool as a key", entry["key"])
        made[key] = entry["value"]
    return made


def _merge(meter: Meter, value: Any, *others: Any) -> dict[Any, Any]:
    """Return one map of all; of equal keys the last counts."""
    made: dict[Any, Any] = {}
    for one in (value, *others):
        _made(meter, len(as_map(one, "merge")))
        made.update(one)
    return made


def _names(keys: tuple[Any, ...], name: str) -> list[Any]:
    """Return the keys given as arguments, or as one list."""
    return [as_key(key) for key in (keys[0] if len(keys) == 1 and type(keys[0]) is list else keys)]


def _pick(meter: Meter, value: Any, *keys: Any) -> dict[Any, Any]:
    """Return the map with these keys alone, as far as it has them."""
    names = _names(keys, "pick")
    _made(meter, len(names))
    as_map(value, "pick")
    return {name: value[name] for name in names if name is not None and name in value}


def _omit(meter: Meter, value: Any, *keys: Any) -> dict[Any, Any]:
    names = frozenset(_names(keys, "omit"))
    _made(meter, len(as_map(value, "omit")) + len(names))
    return {key: item for key, item in value.items() if key not in names}


def _get(meter: Meter, value: Any, key: Any, otherwise: Any = None) -> Any:
    """Return what a map or list has under `key`, or else `otherwise`."""
    if type(value) is list and type(key) is int:
        return value[key] if 0 <= key < len(value) else otherwise
    found = as_key(key)
    return as_map(value, "get").get(found, otherwise) if found is not None else otherwise


METHODS: Final = {
    "keys": Function(_keys, 0, 0),
    "values": Function(_values, 0, 0),
    "entries": Function(_entries, 0, 0),
    "fromEntries": Function(_from_entries, 0, 0),
    "merge": Function(_merge, 1, MANY),
    "pick": Function(_pick, 1, MANY),
    "omit": Function(_omit, 1, MANY),
    "get": Function(_get, 1, 2),
}
