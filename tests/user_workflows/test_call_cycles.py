"""Circles of calls are found before they are published, on SQLite and on PostgreSQL."""

from typing import Any

import pytest

from tests.user_workflows.palette import REGISTRY, drawn, node
from tests.user_workflows.test_workflows import House
from tests.user_workflows.test_workflows import house as house  # the fixture
from user_workflows.definition.calls import Called
from user_workflows.definition.catalogue import Catalogue
from user_workflows.definition.drawing import read_drawing
from user_workflows.definition.model import Fault
from user_workflows.definition.validate import validate
from user_workflows.errors import InvalidDefinition
from user_workflows.plan.compile import compile_plan
from user_workflows.plan.model import Plan
from user_workflows.workflows.call_cycles import find_cycles


def call(target: str, **config: Any) -> dict[str, Any]:
    return node("call", "workflow.call", workflowId=target, **config)


async def put(house: House, *nodes: dict[str, Any], into: str | None = None, tenant: str | None = None) -> str:
    tenant = tenant or house.tenant
    definition = drawn(*nodes)
    if into is None:
        return (await house.store.create(tenant, name="one", definition=definition)).id
    await house.store.put_draft(tenant, into, definition)
    return into


async def publish(house: House, *nodes: dict[str, Any], into: str | None = None) -> str:
    workflow_id = await put(house, *nodes, into=into)
    await house.store.publish(house.tenant, workflow_id)
    return workflow_id


async def refused(house: House, workflow_id: str, version: int | None = None) -> tuple[Fault, ...]:
    store, tenant = house.store, house.tenant
    publishing = (
        store.publish(tenant, workflow_id) if version is None else store.publish_version(tenant, workflow_id, version)
    )
    with pytest.raises(InvalidDefinition) as caught:
        await publishing
    return caught.value.faults


async def test_a_call_of_itself_is_a_fault_of_the_draft(house: House) -> None:
    workflow_id = await put(house, node("a"))
    loop = node("each", "foreach", items=[1], nodes=[call(workflow_id, version=1)])
    await put(house, loop, into=workflow_id)
    (fault,) = (await house.store.get(house.tenant, workflow_id)).faults
    assert (fault.code, fault.pointer, fault.node_id) == (
        "call.self",
        "/nodes/0/config/nodes/0/config/workflowId",
        "call",
    )
    assert await refused(house, workflow_id) == (fault,)


async def test_a_disabled_call_and_one_by_an_expression_are_no_circle(house: House) -> None:
    workflow_id = await put(house, node("a"))
    await publish(
        house,
        call(workflow_id) | {"disabled": True},
        node("other", "workflow.call", workflowId="{{ execution.workflowId }}"),
        into=workflow_id,
    )
    assert (await house.store.get(house.tenant, workflow_id)).faults == ()


async def test_its_own_error_workflow_is_warned_of(house: House) -> None:
    workflow_id = await put(house, node("a"))
    await house.store.put_draft(house.tenant, workflow_id, drawn(node("a"), errorWorkflow=workflow_id))
    (fault,) = (await house.store.get(house.tenant, workflow_id)).faults
    assert (fault.code, fault.severity, fault.pointer) == ("errorWorkflow.self", "warning", "/errorWorkflow")
    await house.store.publish(house.tenant, workflow_id)


async def test_publishing_names_the_circle_that_it_would_close(house: House) -> None:
    """first → second → third → first, and a way round that is longer."""
    first = await publish(house, node("a"))
    third = await publish(house, node("each", "foreach", items=[1], nodes=[call(first)]))
    second = await publish(house, node("b"), call(third))
    detour = await publish(house, call(second))
    await put(house, node("a"), call(second), node("far", "workflow.call", workflowId=detour), into=first)
    near, far = await refused(house, first)
    assert (near.code, near.pointer, near.node_id) == ("call.cycle", "/nodes/1/config/workflowId", "call")
    assert f"{first} → {second} → {third} → {first}" in near.message
    assert (far.node_id, far.pointer) == ("far", "/nodes/2/config/workflowId")
    assert f"{first} → {detour} → {second} → {third} → {first}" in far.message
    assert (await house.store.get(house.tenant, first)).published_version == 1


async def test_a_circle_is_told_with_the_other_faults(house: House) -> None:
    first = await publish(house, node("a"))
    second = await publish(house, call(first))
    await put(house, call(second), node("bad", "no.such"), into=first)
    assert {fault.code for fault in await refused(house, first)} == {"plugin.unknown", "call.cycle"}


async def test_publishing_an_earlier_version_again_closes_no_circle_either(house: House) -> None:
    second = await publish(house, node("b"))
    first = await publish(house, call(second))
    await publish(house, node("a"), into=first)
    await publish(house, call(first), into=second)
    (fault,) = await refused(house, first, version=1)
    assert (fault.code, (await house.store.get(house.tenant, first)).published_version) == ("call.cycle", 2)


async def test_only_what_would_run_counts(house: House) -> None:
    """A version that is pinned, a draft, a deleted workflow, another tenant's: none of these leads back."""
    first = await publish(house, node("a"))
    second = await publish(house, node("b"))
    await publish(house, call(first), into=second)
    unpublished = await put(house, call(first))
    deleted = await publish(house, call(first))
    await house.store.delete(house.tenant, deleted)
    foreign = await put(house, call(first), tenant=house.neighbour)
    await house.store.publish(house.neighbour, foreign)
    calls = [
        node(f"c{index}", "workflow.call", workflowId=target, **config)
        for index, (target, config) in enumerate(
            [(second, {"version": 1}), (unpublished, {}), (deleted, {}), (foreign, {}), ("wf_nobody", {})]
        )
    ]
    await publish(house, *calls, into=first)
    assert (await house.store.get(house.tenant, first)).published_version == 2


async def test_a_circle_of_others_is_not_walked_for_ever() -> None:
    """Two that were published at the same moment; the one that calls them is in no circle itself."""
    around = {"wf_b": "wf_c", "wf_c": "wf_b"}

    async def find_plan(called: Called) -> Plan:
        validation = validate(drawn(call(around[called.workflow_id])), plugins=REGISTRY)
        assert validation.definition is not None
        return compile_plan(validation.definition, plugins=REGISTRY)

    drawing = read_drawing(drawn(call("wf_b")), Catalogue(REGISTRY))
    assert await find_cycles("wf_a", drawing, find_plan) == []
    around["wf_c"] = "wf_a"
    assert [fault.code for fault in await find_cycles("wf_a", drawing, find_plan)] == ["call.cycle"]
