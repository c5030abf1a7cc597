"""Order, ancestors and cycles follow the order of drawing, whatever the hash seed."""

import os
import subprocess
import sys
import time

import pytest

from user_workflows.plan.graph import Graph


def ways(graph: Graph, nodes: str) -> list[str]:
    return [source + target for source in nodes for target in nodes if graph.leads_to(source, target)]


def test_the_order_is_topological_and_earlier_drawn_first() -> None:
    graph = Graph(["d", "c", "b", "a"], [("a", "d"), ("b", "d")])
    assert graph.order() == ["c", "b", "a", "d"]


def test_a_cycle_has_no_order() -> None:
    with pytest.raises(ValueError, match="cycle"):
        Graph(["a", "b"], [("a", "b"), ("b", "a")]).order()


def test_each_group_of_cycles_is_one_walk_from_its_first_drawn_node() -> None:
    graph = Graph("abcdxyz", [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("x", "y"), ("y", "x"), ("y", "z")])
    assert graph.cycles() == [["a", "b", "c"], ["x", "y"]]


def test_nodes_of_a_group_that_are_off_the_walk_are_named_too() -> None:
    graph = Graph("abcd", [("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "b")])
    assert graph.cycles() == [["a", "b", "c", "d"]]


def test_ancestors_are_those_from_which_a_node_can_be_reached() -> None:
    graph = Graph("abcd", [("a", "b"), ("b", "c"), ("a", "d")])
    assert ways(graph, "abcd") == ["ab", "ac", "ad", "bc"]


def test_nodes_on_a_cycle_are_ancestors_of_each_other_and_of_what_follows() -> None:
    graph = Graph("abc", [("a", "b"), ("b", "a"), ("b", "c")])
    assert ways(graph, "abc") == ["aa", "ab", "ac", "ba", "bb", "bc"]


def test_depths_count_the_most_waits_on_one_path() -> None:
    graph = Graph("abcde", [("a", "b"), ("b", "c"), ("a", "d"), ("d", "e")])
    assert graph.depths({"a": 1, "b": 1, "c": 1, "d": 1}) == {"a": 1, "b": 2, "d": 2, "c": 3, "e": 2}
    assert max(graph.depths({"a": 1, "b": 1, "c": 1, "d": 4}).values()) == 5
    assert max(graph.depths({}).values()) == 0


def test_a_thousand_nodes_that_all_lead_onwards_are_answered_fast() -> None:
    names = [f"n{index}" for index in range(1000)]
    edges = [(names[index], names[other]) for index in range(1000) for other in range(index + 1, min(index + 20, 1000))]
    started = time.process_time()
    graph = Graph(names, edges)
    graph.order()
    assert graph.leads_to(names[0], names[-1])
    assert graph.cycles() == []
    assert time.process_time() - started < 1.0


def test_answers_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "from user_workflows.plan.graph import Graph;"
        "n=[f'n{i}' for i in range(60)];"
        "e=[(n[i], n[(i*7+3)%60]) for i in range(60)]+[(n[i], n[(i*11+5)%60]) for i in range(60)];"
        "print(Graph(n, e).cycles(), Graph(n, [x for x in e if n.index(x[0])<n.index(x[1])]).order())"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(answers) == 1
