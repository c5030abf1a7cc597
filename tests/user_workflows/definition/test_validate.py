"""Every fault of a definition is reported at once, with its pointer, and none hides another."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.user_workflows.palette import MAIL, PRICE, REGISTRY, drawn, node
from user_workflows.definition.codes import CODES
from user_workflows.definition.model import Fault
from user_workflows.definition.validate import Validation, validate

EVERY_DAY = {"cron": "0 9 * * *"}


def check(raw: Any) -> Validation:
    validation = validate(raw, plugins=REGISTRY)
    assert {fault.code for fault in validation.faults} <= CODES.keys()
    return validation


def codes(validation: Validation) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in validation.faults]


def only(validation: Validation) -> Fault:
    assert len(validation.faults) == 1, codes(validation)
    return validation.faults[0]


def test_a_good_definition_has_no_faults_and_is_decoded() -> None:
    raw = drawn(
        PRICE,
        node("dropped", "if", condition="{{ nodes.price.output.price <= vars.limit }}"),
        MAIL | {"retry": {"maxAttempts": 5}, "timeout": "30s", "credentials": {"smtp": "cred_1"}},
        edges=[("price", "dropped"), ("dropped", "true", "mail")],
        name="Price alert",
        variables={"limit": 5, "email": "a@example.com"},
        triggers=[{"id": "daily", "type": "cron", "config": {"cron": "0 9 * * MON-FRI", "timezone": "Europe/Berlin"}}],
    )
    validation = check(raw)
    assert validation.faults == ()
    assert validation.valid
    assert validation.definition is not None
    assert [node.id for node in validation.definition.nodes] == ["price", "dropped", "mail"]


def test_five_different_faults_are_five_faults_each_with_its_pointer() -> None:
    """A cycle, an unknown plugin, an edge to nowhere, a bad config value and a bad expression."""
    raw = drawn(
        node("a", values={"x": "{{ 1 + }}"}),
        node("b", values={"y": "{{ nodes.a.output.x }}"}),
        node("price", "stock.price", symbol="not a ticker"),
        node("mystery", "sotck.price", symbol="AAPL"),
        edges=[("a", "b"), ("b", "a"), ("b", "price"), ("price", "mystery"), ("mystery", "moon")],
    )
    validation = check(raw)
    assert not validation.valid
    assert sorted(codes(validation)) == [
        ("config.invalid", "/nodes/2/config/symbol"),
        ("edge.unknownTarget", "/edges/4/target"),
        ("expression.syntax", "/nodes/0/config/values/x"),
        ("graph.cycle", "/edges/1"),
        ("plugin.unknown", "/nodes/3/pluginId"),
    ]
    assert all(fault.severity == "error" for fault in validation.faults)
    by_code = {fault.code: fault for fault in validation.faults}
    assert "a → b → a" in by_code["graph.cycle"].message
    assert "did you mean 'stock.price'?" in by_code["plugin.unknown"].message
    assert by_code["plugin.unknown"].node_id == "mystery"
    assert "at character" in by_code["expression.syntax"].message


@pytest.mark.parametrize("raw", [None, True, 3, 2.5, "text", [], [1], {}, {"nodes": None}, {"nodes": {}}])
def test_what_is_not_a_definition_is_refused_with_a_pointer(raw: Any) -> None:
    validation = check(raw)
    assert not validation.valid
    assert validation.faults[0].pointer in ("", "/nodes")


def test_no_nodes_is_an_error() -> None:
    assert only(check({"nodes": []})).code == "definition.noNodes"


def test_unknown_keys_are_named_with_the_nearest_known_one_everywhere() -> None:
    raw = {
        "nodes": [{**node("a"), "colour": "red", "retry": {"maxAttempt": 2}}, node("b", "wait", duraton="5s")],
        "edges": [{"source": "a", "target": "b", "sourcePort": "output"}],
        "triggers": [{"id": "t", "type": "manual", "when": "now"}],
        "varaibles": {},
    }
    found = {fault.pointer: fault for fault in check(raw).faults}
    assert found["/varaibles"].code == "definition.unknownKey"
    assert "did you mean 'variables'?" in found["/varaibles"].message
    assert found["/nodes/0/colour"].code == "node.unknownKey"
    assert found["/nodes/0/colour"].node_id == "a"
    assert "did you mean 'maxAttempts'?" in found["/nodes/0/retry/maxAttempt"].message
    assert found["/nodes/1/config/duraton"].code == "config.unknownKey"
    assert "did you mean 'duration'?" in found["/nodes/1/config/duraton"].message
    assert found["/edges/0/sourcePort"].code == "edge.unknownKey"
    assert found["/triggers/0/when"].code == "trigger.unknownKey"


def test_wrong_types_do_not_hide_each_other() -> None:
    raw = {
        "name": 3,
        "nodes": [
            {"id": "1st", "pluginId": "set", "config": {"values": 1}, "disabled": "no", "timeout": "soon"},
            {"id": "b", "pluginId": 7, "onError": "explode", "join": {"count": 0}},
            {"pluginId": "set", "config": []},
            "a node",
        ],
        "edges": [{"source": 1, "target": "b"}],
        "variables": {"no good": 1},
        "timeout": "0s",
    }
    assert sorted(codes(check(raw))) == [
        ("config.invalid", "/nodes/0/config/values"),
        ("definition.invalid", "/name"),
        ("definition.invalid", "/nodes/3"),
        ("definition.invalid", "/timeout"),
        ("definition.invalid", "/variables/no good"),
        ("edge.invalid", "/edges/0/source"),
        ("node.invalid", "/nodes/0/disabled"),
        ("node.invalid", "/nodes/0/id"),
        ("node.invalid", "/nodes/0/timeout"),
        ("node.invalid", "/nodes/1/join/count"),
        ("node.invalid", "/nodes/1/onError"),
        ("node.invalid", "/nodes/1/pluginId"),
        ("node.invalid", "/nodes/2/config"),
        ("node.missing", "/nodes/2/id"),
    ]


def test_a_final_newline_is_part_of_a_name() -> None:
    raw = drawn({**node("a\n"), "timeout": "5s\n"}, variables={"x\n": 1})
    assert codes(check(raw)) == [
        ("node.invalid", "/nodes/0/id"),
        ("node.invalid", "/nodes/0/timeout"),
        ("definition.invalid", "/variables/x\n"),
    ]


def test_pointers_escape_what_rfc_6901_says() -> None:
    assert only(check({"nodes": [node("a")], "a/b~c": 1})).pointer == "/a~1b~0c"


def test_ids_are_unique() -> None:
    triggers = [{"id": "t", "type": "manual"}, {"id": "t", "type": "manual"}]
    validation = check(drawn(node("a"), node("a"), triggers=triggers))
    assert codes(validation) == [("node.duplicateId", "/nodes/1/id"), ("trigger.duplicateId", "/triggers/1/id")]


def test_edges_must_lead_from_a_node_by_one_of_its_ports_to_another_node_once() -> None:
    raw = drawn(
        node("a"),
        node("b", "if", condition="{{ true }}"),
        node("c"),
        edges=[
            ("a", "b"),
            ("a", "b"),
            ("b", "yes", "c"),
            ("b", "error", "c"),
            ("c", "c"),
            ("nowhere", "c"),
            ("b", "true", "c"),
        ],
    )
    validation = check(raw)
    assert codes(validation) == [
        ("edge.duplicate", "/edges/1"),
        ("edge.unknownPort", "/edges/2/sourceHandle"),
        ("edge.unknownPort", "/edges/3/sourceHandle"),
        ("edge.self", "/edges/4"),
        ("edge.unknownSource", "/edges/5/source"),
    ]
    messages = [fault.message for fault in validation.faults]
    assert "it leaves by true, false" in messages[1]
    assert 'onError "port"' in messages[2]


def test_the_error_port_is_there_with_on_error_port() -> None:
    raw = drawn(PRICE | {"onError": "port"}, node("a"), edges=[("price", "error", "a")])
    assert check(raw).faults == ()


def test_ports_of_a_switch_are_its_cases_and_default() -> None:
    switch = node("s", "switch", cases=[{"port": "big", "when": "{{ input > 3 }}"}])
    raw = drawn(switch, node("a"), node("b"), node("c"), edges=[("s", "big", "a"), ("s", "default", "b")])
    assert check(raw).faults == ()
    wrong = drawn(switch, node("a"), edges=[("s", "small", "a")])
    assert only(check(wrong)).code == "edge.unknownPort"


def test_a_switch_may_not_name_a_port_that_has_a_meaning_already() -> None:
    raw = drawn(node("s", "switch", cases=[{"port": "default", "when": "{{ true }}"}]))
    assert only(check(raw)).pointer == "/nodes/0/config/cases/0/port"


def test_each_group_of_cycles_is_one_fault_that_names_its_nodes() -> None:
    raw = drawn(
        *(node(id) for id in "abcdef"),
        edges=[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e"), ("e", "d"), ("e", "f")],
    )
    faults = check(raw).faults
    assert [(fault.code, fault.pointer) for fault in faults] == [
        ("graph.cycle", "/edges/2"),
        ("graph.cycle", "/edges/5"),
    ]
    assert "a → b → c → a" in faults[0].message
    assert "d → e → d" in faults[1].message


def test_a_misspelt_edge_is_one_fault_not_one_for_each_node_behind_it() -> None:
    raw = drawn(PRICE, MAIL, edges=[("price", "mial")], variables={"email": "a@example.com"})
    assert only(check(raw)).message.endswith("did you mean 'mail'?")


def test_a_guess_at_what_an_edge_meant_is_never_reported_as_a_cycle() -> None:
    edges: list[tuple[str, ...]] = [("node1", "node2"), ("node2", "node3"), ("node3", "node9"), ("node0", "node1")]
    raw = drawn(node("node1"), node("node2"), node("node3"), edges=edges)
    assert codes(check(raw)) == [("edge.unknownTarget", "/edges/2/target"), ("edge.unknownSource", "/edges/3/source")]


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("nodes.prices.output.price", "reference.unknownNode"),
        ("nodes.later.output", "reference.notUpstream"),
        ("nodes.reader.output", "reference.notUpstream"),
        ("nodes.price.result", "reference.unknownPort"),
        ("nodes.price.error.message", "reference.unknownPort"),
        ("vars.treshold", "reference.unknownVariable"),
        ("execution.name", "reference.unknownField"),
        ("item.price", "reference.outsideLoop"),
        ("last", "reference.outsideLoop"),
        ("has(nodes.prices.output)", "reference.unknownNode"),
        ("1 +", "expression.syntax"),
        ("nonsense.path", "expression.syntax"),
    ],
)
def test_an_expression_may_only_read_what_is_there(expression: str, code: str) -> None:
    raw = drawn(
        PRICE,
        node("reader", values={"deep": [{"x": f"at {{{{ {expression} }}}}"}]}),
        node("later"),
        edges=[("price", "reader"), ("reader", "later")],
        variables={"threshold": 5},
    )
    fault = only(check(raw))
    assert (fault.code, fault.pointer, fault.node_id) == (code, "/nodes/1/config/values/deep/0/x", "reader")


def test_one_bad_expression_does_not_hide_those_beside_it() -> None:
    raw = drawn(node("a", values={"x": "{{ 1 + }}", "y": "{{ nodes.b.output }}", "z": "{{ vars.q }} {{ vars.r }}"}))
    assert [fault.code for fault in check(raw).faults] == [
        "expression.syntax",
        "reference.unknownNode",
        "reference.unknownVariable",
        "reference.unknownVariable",
    ]


def test_more_expressions_in_one_config_than_can_be_rendered_are_refused() -> None:
    raw = drawn(node("a"), node("b", values={"x": "{{ nodes.a.nothing }}"}))
    raw["nodes"][0]["config"] = {"values": {str(index): "{{ 1 }}" for index in range(1001)}}
    assert [fault.code for fault in check(raw).faults] == [
        "expression.tooManyExpressions",
        "reference.notUpstream",
        "reference.unknownPort",
    ]


def test_an_error_is_readable_where_the_node_goes_on() -> None:
    reader = node("a", values={"why": "{{ nodes.price.error.message }}"})
    raw = drawn(PRICE | {"onError": "continue"}, reader, edges=[("price", "a")])
    assert check(raw).faults == ()


def test_a_filter_sees_item_and_index_where_it_looks_at_items() -> None:
    good = node("f", "filter", items=[1, 2], where="{{ item > 1 && index > 0 }}")
    assert check(drawn(good)).faults == ()
    bad = node("f", "filter", items="{{ item }}", where="{{ true }}")
    assert only(check(drawn(bad))).pointer == "/nodes/0/config/items"


def test_a_node_that_is_read_by_a_computed_name_is_a_warning() -> None:
    raw = drawn(node("a"), node("b", values={"x": "{{ nodes[vars.n] }}"}), edges=[("a", "b")], variables={"n": "a"})
    validation = check(raw)
    assert validation.valid
    assert [fault.severity for fault in validation.faults] == ["warning"]


@pytest.mark.parametrize("field", ["condition", "when", "where"])
def test_a_bare_expression_is_refused_with_a_hint_at_the_braces(field: str) -> None:
    nodes = {
        "condition": node("a", "if", condition="vars.x > 1"),
        "when": node("a", "switch", cases=[{"port": "p", "when": "vars.x > 1"}]),
        "where": node("a", "filter", items="{{ vars.x }}", where="item > 1"),
    }
    fault = only(check(drawn(nodes[field], variables={"x": [1]})))
    assert fault.code == "expression.required"
    assert "{{" in fault.message


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({}, ""),
        ({"duration": "5s", "signal": "go"}, ""),
        ({"duration": "5 minutes"}, "/duration"),
        ({"duration": "0s"}, "/duration"),
        ({"duration": "99999d"}, "/duration"),
        ({"until": "tomorrow"}, "/until"),
        ({"until": "2030-01-01T09:00:00"}, "/until"),
        ({"duration": "5s", "timeout": "1m"}, "/timeout"),
    ],
)
def test_a_wait_says_exactly_one_thing_to_wait_for(config: Any, pointer: str) -> None:
    raw = drawn({"id": "w", "pluginId": "wait", "config": config})
    assert only(check(raw)).pointer == "/nodes/0/config" + pointer


@pytest.mark.parametrize(
    "config",
    [
        {"duration": "5s"},
        {"duration": "{{ vars.pause }}"},
        {"until": "2030-01-01T09:00:00Z"},
        {"signal": "paid", "timeout": "7d"},
    ],
)
def test_each_form_of_wait_is_good(config: Any) -> None:
    raw = drawn({"id": "w", "pluginId": "wait", "config": config}, variables={"pause": "5s"})
    assert check(raw).faults == ()


def test_configs_are_checked_field_by_field_wherever_they_are_literal() -> None:
    mail = node(
        "m", "email.send", to=["a@example.com", 7], headers=[{"name": 1}, "x", {"name": "a", "value": "{{ input }}"}]
    )
    assert codes(check(drawn(mail))) == [
        ("config.invalid", "/nodes/0/config/to/1"),
        ("config.invalid", "/nodes/0/config/headers/0/name"),
        ("config.missing", "/nodes/0/config/headers/0/value"),
        ("config.invalid", "/nodes/0/config/headers/1"),
        ("config.missing", "/nodes/0/config/subject"),
    ]


def test_an_expression_may_stand_for_a_value_of_any_type() -> None:
    price = node("p", "stock.price", symbol="{{ vars.s }}", decimals="{{ vars.d }}")
    assert check(drawn(price, variables={"s": "AAPL", "d": 2})).faults == ()


def test_credentials_are_bound_to_slots_that_the_plugin_has() -> None:
    raw = drawn(
        {**MAIL, "credentials": {"stmp": "cred_1"}, "config": {"to": "a@example.com", "subject": "x"}},
        node("v", "vault.read", name="a", value="b"),
        {**node("s"), "credentials": {"auth": "cred_1"}},
    )
    validation = check(raw)
    assert codes(validation) == [
        ("credential.unknownSlot", "/nodes/0/credentials/stmp"),
        ("credential.missing", "/nodes/1/credentials/auth"),
        ("credential.unknownSlot", "/nodes/2/credentials/auth"),
    ]


def test_a_disabled_node_may_be_half_drawn() -> None:
    raw = drawn(
        {**node("v", "vault.read", name="{{ nodes.x.output }}"), "disabled": True}, node("a"), edges=[("v", "a")]
    )
    validation = check(raw)
    assert validation.valid
    assert {fault.severity for fault in validation.faults} == {"warning"}
    assert len(validation.faults) == 3


@pytest.mark.parametrize(
    ("trigger", "code", "key"),
    [
        ({"type": "cron", "config": {}}, "trigger.missing", "cron"),
        ({"type": "cron", "config": {"cron": "0 9 * *"}}, "trigger.invalidCron", "cron"),
        ({"type": "cron", "config": {"cron": "0 25 * * *"}}, "trigger.invalidCron", "cron"),
        ({"type": "cron", "config": {"cron": "0 0 31 2 *"}}, "trigger.invalidCron", "cron"),
        ({"type": "cron", "config": {"cron": "0 0 * * 1#2"}}, "trigger.invalidCron", "cron"),
        ({"type": "cron", "config": {"cron": "* * * * * *"}}, "trigger.invalidCron", "cron"),
        ({"type": "cron", "config": EVERY_DAY | {"timezone": "Europe/Berln"}}, "trigger.unknownTimezone", "timezone"),
        ({"type": "cron", "config": EVERY_DAY | {"timezone": "../etc/passwd"}}, "trigger.unknownTimezone", "timezone"),
        ({"type": "cron", "config": EVERY_DAY | {"catchUp": "0s"}}, "trigger.invalid", "catchUp"),
        ({"type": "webhook", "config": {}}, "trigger.secretMissing", "secret"),
        ({"type": "webhook", "config": {"secret": 5}}, "trigger.invalid", "secret"),
        ({"type": "webhook", "config": {"secret": "cred_1", "scheme": "md5"}}, "trigger.invalid", "scheme"),
        ({"type": "webhook", "config": {"secret": "cred_1", "prefix": "x"}}, "trigger.invalid", "prefix"),
        ({"type": "manual", "config": {"cron": "x"}}, "trigger.unknownKey", "cron"),
    ],
)  # fmt: skip
def test_a_trigger_says_what_its_type_needs(trigger: Any, code: str, key: str) -> None:
    fault = only(check(drawn(node("a"), triggers=[{"id": "t", **trigger}])))
    assert (fault.code, fault.pointer) == (code, f"/triggers/0/config/{key}")


@pytest.mark.parametrize(
    "trigger",
    [
        {"type": "manual"},
        {"type": "cron", "config": {"cron": "*/5 9-17 * JUL mon-fri", "payload": {"a": 1}, "overlap": "allow"}},
        {"type": "webhook", "config": {"secret": "cred_1"}},
        {"type": "webhook", "config": {"secret": "cred_1", "scheme": "hmac", "header": "X-Sig", "encoding": "base64"}},
    ],
)
def test_good_triggers_have_no_faults(trigger: Any) -> None:
    assert check(drawn(node("a"), triggers=[{"id": "t", **trigger}])).faults == ()


def test_a_workflow_has_caps_and_a_policy() -> None:
    assert check(drawn(node("a"), concurrency={"limit": 1, "policy": "replaceOldest"})).faults == ()
    assert check(drawn(node("a"), concurrency={"policy": "skip"})).faults == ()
    wrong = check(drawn(node("a"), concurrency={"limit": 0, "startsPerMinute": 0, "policy": "wait", "most": 1}))
    assert {fault.pointer for fault in wrong.faults} == {
        "/concurrency/limit",
        "/concurrency/startsPerMinute",
        "/concurrency/policy",
        "/concurrency/most",
    }


def test_limits_have_faults_of_their_own() -> None:
    many = check(drawn(*(node(f"n{index}") for index in range(1001))))
    assert codes(many) == [("definition.tooManyNodes", "/nodes")]
    often = check(drawn(node("a"), triggers=[{"id": f"t{index}", "type": "manual"} for index in range(101)]))
    assert codes(often) == [("definition.tooManyTriggers", "/triggers")]
    large = check(drawn(node("a", values={"x": "y" * 1024 * 1024})))
    assert codes(large) == [("definition.tooLarge", "")]
    nested: Any = 1
    for _ in range(100_000):
        nested = [nested]
    deep = check(drawn(node("a", values={"x": nested})))
    assert codes(deep) == [("definition.tooDeep", "")]


def test_text_that_is_not_unicode_is_a_fault() -> None:
    assert codes(check(drawn(node("a", values={"x": "\ud800"})))) == [("definition.invalid", "")]


def test_a_thousand_nodes_are_validated_fast() -> None:
    nodes = [node("n0", values={"x": 0})] + [
        node(f"n{index}", values={"x": f"{{{{ nodes.n{index - 1}.output.x + 1 }}}}"}) for index in range(1, 1000)
    ]
    raw = drawn(*nodes, edges=[(f"n{index - 1}", f"n{index}") for index in range(1, 1000)])
    started = time.thread_time()
    assert check(raw).faults == ()
    assert time.thread_time() - started < 1.0


def test_a_definition_full_of_misspellings_is_answered_fast() -> None:
    nodes = [node(f"node_number_{index}") for index in range(1000)]
    raw = drawn(*nodes, edges=[(f"node_numbr_{index}", f"node_numer_{index}") for index in range(5000)])
    started = time.thread_time()
    assert len(check(raw).faults) == 10_000
    assert time.thread_time() - started < 2.0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
words = st.sampled_from(
    ["id", "pluginId", "config", "condition", "values", "source", "target", "cron", "type", "nodes", "cases", "when",
     "a", "b", "if", "set", "switch", "wait", "manual", "webhook", "error",
     "5s", "{{", "{{ nodes.a.output }}", "{{1+}}"]
)  # fmt: skip
half_right = st.recursive(
    json_values | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    raw=half_right
    | st.fixed_dictionaries({"nodes": st.lists(half_right), "edges": st.lists(half_right), "triggers": half_right})
)
def test_validation_never_raises(raw: Any) -> None:
    validation = check(raw)
    assert validation.valid == (not any(fault.severity == "error" for fault in validation.faults))


def test_an_answer_that_could_not_be_sent_is_refused_where_it_is_drawn() -> None:
    headers = {"Set-Cookie": "a=b", "Connection": "close", "no name": "x", "X-Split": "a\r\nb", "X-Late": "{{ input }}"}
    raw = drawn(
        node("cookies", "respond", headers=headers),
        node("teapot", "respond", status=700),
        node("empty", "respond", status=204, body="something"),
        node("good", "respond", status="{{ input.status }}", headers={"Location": "/there"}, body=[1]),
    )
    assert [fault.pointer for fault in check(raw).faults] == [
        "/nodes/0/config/headers/Set-Cookie",
        "/nodes/0/config/headers/Connection",
        "/nodes/0/config/headers/no name",
        "/nodes/0/config/headers/X-Split",
        "/nodes/1/config/status",
        "/nodes/2/config/body",
    ]


def test_a_webhook_that_waits_for_an_answer_which_is_not_drawn_is_a_warning() -> None:
    webhook = {"id": "t", "type": "webhook", "config": {"secret": "c", "respond": "workflow"}}
    validation = check(drawn(node("a"), triggers=[webhook]))
    assert [fault.code for fault in validation.faults] == ["trigger.neverAnswers"]
    assert validation.valid
    assert check(drawn(node("a", "respond"), triggers=[webhook])).faults == ()


def test_an_approval_that_could_not_be_asked_is_refused_where_it_is_drawn() -> None:
    reference = {"$ref": "https://example.com/form"}
    raw = drawn(
        node("form", "approval", title="?", form={"type": "objekt"}),
        node("inside", "approval", title="?", form={"properties": {"a": reference, "b": {"pattern": "(?=x)"}}}),
        node("people", "approval", title="?", approvers=["ann@example.com", "bob"], required=3),
        node("when", "approval", title="?", deadline="soon", onDeadline="approved"),
        node("never", "approval", title="?", onDeadline="rejected"),
        node("good", "approval", title="{{ input }}", form={"properties": {"$ref": {}}}, deadline="2d"),
    )
    assert [fault.pointer for fault in check(raw).faults] == [
        "/nodes/0/config/form/type",
        "/nodes/1/config/form/properties/a/$ref",
        "/nodes/1/config/form/properties/b/pattern",
        "/nodes/2/config/approvers/1",
        "/nodes/2/config/required",
        "/nodes/3/config/deadline",
        "/nodes/4/config/onDeadline",
    ]
