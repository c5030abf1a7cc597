"""A good definition, damaged anywhere in any way, is still answered well."""

import copy
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.user_workflows.palette import MAIL, PRICE, REGISTRY, drawn, node
from user_workflows.definition.codes import CODES
from user_workflows.definition.validate import validate
from user_workflows.plan.compile import compile_plan
from user_workflows.plan.forecast import forecast

GOOD = drawn(
    PRICE | {"retry": {"maxAttempts": 3, "initialInterval": "1s"}, "onError": "port", "timeout": "10s"},
    node("branch", "if", condition="{{ nodes.price.output.price < vars.limit }}"),
    node("route", "switch", cases=[{"port": "big", "when": "{{ input.price > 3 }}"}], mode="all"),
    node("pause", "wait", signal="go", timeout="1h"),
    node("keep", "filter", items="{{ [1, 2] }}", where="{{ item > 1 }}"),
    MAIL | {"credentials": {"smtp": "cred_1"}, "join": {"count": 1}, "label": "Mail"},
    node(
        "each",
        "foreach",
        items="{{ nodes.keep.output }}",
        nodes=[
            node("double", values={"n": "{{ item * vars.limit }}"}),
            node("poll", "while", condition="{{ index < 2 }}", nodes=[node("again", values={"n": "{{ last }}"})]),
        ],
        edges=[{"source": "double", "target": "poll"}],
        result="{{ nodes.double.output.n }}",
        continueOnItemError=True,
    ),
    node("end", "stop", status="failed", message="{{ nodes.price.error.message }}"),
    edges=[
        ("price", "branch"),
        ("price", "error", "end"),
        ("branch", "true", "route"),
        ("route", "big", "pause"),
        ("route", "default", "keep"),
        ("pause", "timeout", "mail"),
        ("keep", "each"),
        ("each", "output", "mail"),
    ],
    name="Everything",
    variables={"limit": 5, "email": "a@example.com"},
    triggers=[
        {"id": "daily", "type": "cron", "config": {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}},
        {"id": "hook", "type": "webhook", "config": {"secret": "cred_1", "scheme": "hmac", "header": "X-Sig"}},
    ],
    timeout="1d",
)

Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> list[Path]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in places(item, (*path, key)))]


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def steps(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def leads_somewhere(pointer: str, raw: Any) -> bool:
    """Whether a pointer leads to a value, or to the place in an object or node where one is missing."""
    parts = steps(pointer)
    for place, part in enumerate(parts):
        if isinstance(raw, list) and part.isdecimal() and int(part) < len(raw):
            raw = raw[int(part)]
        elif isinstance(raw, dict) and part in raw:
            raw = raw[part]
        else:
            return isinstance(raw, dict) and place >= len(parts) - 2
    return True


strange: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, 0, -1, 2**80, 1.5, [], [1], [[]], [{}], {}, {"a": 1}, {"count": 3}, {"port": "x"}]),
    st.sampled_from(["", "x", "error", "5s", "price", "branch", "if", "set", "a\nb", "\u0000", "é" * 300]),
    st.sampled_from(["{{", "{{ 1 + }}", "{{ nodes.mail.output }}", "{{ nodes }}", "{{ item }}", "{{ vars.x }}"]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_damaged_is_answered_and_what_is_valid_compiles(data: st.DataObject) -> None:
    raw = copy.deepcopy(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(raw)[1:]))
        holder, key = at(raw, path[:-1]), path[-1]
        match data.draw(st.sampled_from(["replace", "remove", "add", "double"])):
            case "replace":
                holder[key] = copy.deepcopy(data.draw(strange))
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[data.draw(st.sampled_from(["x", "config", "onError", "disabled", "a/b"]))] = copy.deepcopy(
                    data.draw(strange)
                )
            case _ if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[int(key)]))
        if not raw:
            break
    validation = validate(raw, plugins=REGISTRY)
    assert validation.valid == all(fault.severity == "warning" for fault in validation.faults)
    for fault in validation.faults:
        assert leads_somewhere(fault.pointer, raw), fault
        assert fault.code in CODES
        assert fault.message
    if validation.definition is not None:
        plan = compile_plan(validation.definition, plugins=REGISTRY)
        assert len(plan.nodes) == len(raw["nodes"])
        assert forecast(plan).history_events >= 5
        msgspec.json.encode(plan)


def test_the_good_one_is_good() -> None:
    assert validate(GOOD, plugins=REGISTRY).faults == ()
