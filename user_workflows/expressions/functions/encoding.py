"""JSON, Base64 and URLs, to and from text."""

import base64
import binascii
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

import msgspec

from user_workflows.expressions.budget import CONTAINER, ELEMENT, MAX_OUTPUT, Meter, weight
from user_workflows.expressions.functions import strings
from user_workflows.expressions.functions.arguments import as_map, as_text, invalid
from user_workflows.expressions.functions.function import Function
from user_workflows.expressions.output import to_json
from user_workflows.expressions.text import render_text
from user_workflows.expressions.values import from_key


def _json_encode(meter: Meter, value: Any) -> str:
    """Return compact JSON, with what JSON has no form for written as results are."""
    counted = Meter()
    counted.steps = meter.steps
    # Stops when the steps that are left would not pay for it.
    counted.output = most = min(MAX_OUTPUT, meter.steps << 3)
    try:
        plain = to_json(counted, value)
    finally:
        meter.work((meter.steps - counted.steps) + (most - counted.output >> 3))
    return strings.made(meter, msgspec.json.encode(plain).decode())


def _json_decode(meter: Meter, text: Any) -> Any:
    as_text(text, "json.decode")
    containers = text.count("{") + text.count("[")
    meter.work(len(text) >> 6)
    meter.allocate(weight(text) + CONTAINER * containers + 2 * ELEMENT * (text.count(",") + text.count(":")))
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise invalid("json.decode(): the string is not JSON") from None


def _bytes(text: Any, name: str) -> bytes:
    try:
        return as_text(text, name).encode()
    except UnicodeEncodeError:
        raise invalid(f"{name}(): the string holds half a character") from None


def _base64_encode(meter: Meter, text: Any) -> str:
    return strings.made(meter, base64.b64encode(_bytes(text, "base64.encode")).decode())


def _base64_url_encode(meter: Meter, text: Any) -> str:
    return strings.made(meter, base64.urlsafe_b64encode(_bytes(text, "base64.encodeUrl")).decode().rstrip("="))


def _base64_decode(meter: Meter, text: Any) -> str:
    """Decode either alphabet, padded or not, to the UTF-8 text it holds."""
    if not as_text(text, "base64.decode").isascii():
        raise invalid("base64.decode(): the string is not Base64")
    encoded = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("base64.decode(): the string is not Base64") from None
    try:
        return strings.made(meter, decoded.decode())
    except UnicodeDecodeError:
        raise invalid("base64.decode(): what it holds is no UTF-8 text") from None


def _url_encode(meter: Meter, text: Any) -> str:
    """Percent-encode everything but letters, digits and ``-._~``."""
    encoded = _bytes(text, "url.encode")
    meter.work(len(encoded) >> 2)
    return strings.made(meter, quote(encoded, safe=""))


def _url_decode(meter: Meter, text: Any) -> str:
    meter.work(len(as_text(text, "url.decode")) >> 2)
    return strings.made(meter, unquote(text.replace("+", " ")))


def _url_query(meter: Meter, value: Any) -> str:
    """Return ``a=1&b=x%20y`` of a map; a list repeats its name, null is left out."""
    pairs: list[tuple[str, str]] = []
    for key, item in as_map(value, "url.query").items():
        for one in item if type(item) is list else [item]:
            meter.work(12)
            if one is not None:
                plain = to_json(Meter(), one)
                pairs.append((str(from_key(key)), render_text(plain)))
                meter.allocate(CONTAINER + 3 * weight(pairs[-1][0]) + 3 * weight(pairs[-1][1]))
    try:
        return urlencode(pairs, quote_via=quote)
    except UnicodeEncodeError:
        raise invalid("url.query(): a string holds half a character") from None


METHODS: Final[dict[str, Function]] = {}
FUNCTIONS: Final = {
    "json.encode": Function(_json_encode, 1, 1),
    "json.decode": Function(_json_decode, 1, 1),
    "base64.encode": Function(_base64_encode, 1, 1),
    "base64.encodeUrl": Function(_base64_url_encode, 1, 1),
    "base64.decode": Function(_base64_decode, 1, 1),
    "url.encode": Function(_url_encode, 1, 1),
    "url.decode": Function(_url_decode, 1, 1),
    "url.query": Function(_url_query, 1, 1),
}
