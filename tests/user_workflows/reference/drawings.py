"""Random definitions, each one that `validate` accepts, as hypothesis strategies."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

CHEAP = "ref.cheap"
ACTING = "ref.acting"
UNSAFE = "ref.unsafe"

#: that a definition may hold: a cheap call is one that a segment or a batch may carry
_CALLS = (CHEAP, CHEAP, CHEAP, ACTING, ACTING, UNSAFE, UNSAFE)
_KINDS = (*_CALLS, "if", "switch", "set", "merge", "filter", "foreach", "while", "stop")
_LOOPS = ("foreach", "while")

_LITERALS = st.none() | st.booleans() | st.integers(-2, 4) | st.sampled_from(["", "text"])
_LISTS = st.lists(_LITERALS, max_size=4)


@dataclass
class _Drawn:
    """A node as far as those behind it need to know it."""

    id: str
    #: that edges may name
    ports: tuple[str, ...]
    #: that expressions may name
    readable: tuple[str, ...]
    #: nodes that have settled when it begins, whatever the schedule
    settled: set[str] = field(default_factory=set)


@dataclass
class _Sight:
    """What the expressions of a node may name."""

    paths: Sequence[str]

    def plus(self, *names: str) -> "_Sight":
        return _Sight([*self.paths, *names])


class _Artist:
    """Draws one definition.

    Args:
        draw: hypothesis's.
        racing: whether its outcome may depend on what happens first: joins of first and count, failures, stops.
    """

    def __init__(self, draw: st.DrawFn, racing: bool) -> None:
        self._draw = draw
        self._racing = racing
        self._count = 0

    def graph(self, sight: _Sight, *, depth: int, most: int) -> dict[str, Any]:
        """Draw nodes and the edges between them."""
        drawn: list[_Drawn] = []
        nodes: list[dict[str, Any]] = []
        edges: list[dict[str, Any]] = []
        for _ in range(self._draw(st.integers(1, most))):
            self._count += 1
            id = f"n{self._count}"
            sources = self._draw(st.lists(st.sampled_from(drawn), max_size=3)) if drawn else []
            incoming = self._edges(id, sources)
            join = self._draw(self._joins(len(incoming))) if incoming else None
            upstream = {source.id for source in sources}.union(*(source.settled for source in sources))
            if join not in (None, "any", "all"):
                # It may begin while those are still under way: whether it sees them is not promised.
                upstream = set()
            readable = [f"nodes.{d.id}.{port}" for d in drawn if d.id in upstream for port in d.readable]
            node, known = self._node(id, sight.plus(*readable), depth)
            known.settled = upstream
            if join is not None:
                node["join"] = join
            drawn.append(known)
            nodes.append(node)
            edges += incoming
        return {"nodes": nodes, "edges": edges}

    def _edges(self, target: str, sources: Sequence[_Drawn]) -> list[dict[str, Any]]:
        edges: list[dict[str, Any]] = []
        for source in sources:
            edge = {"source": source.id, "target": target}
            if source.ports and (port := self._draw(st.sampled_from([None, *source.ports]))) is not None:
                edge["sourceHandle"] = port
            if (handle := self._draw(st.sampled_from([None, None, None, "left", "right"]))) is not None:
                edge["targetHandle"] = handle
            if edge not in edges:
                edges.append(edge)
        return edges

    def _node(self, id: str, sight: _Sight, depth: int) -> tuple[dict[str, Any], _Drawn]:
        kinds = [kind for kind in _KINDS if (depth or kind not in _LOOPS) and (self._racing or kind != "stop")]
        kind = self._draw(st.sampled_from(kinds))
        config, ports = self._config(kind, sight, depth)
        node: dict[str, Any] = {"id": id, "pluginId": kind, "config": config}
        readable = ports
        if self._draw(st.integers(0, 9)) == 0:
            node["disabled"] = True
        if kind != "stop":
            policies = ["fail", "continue", "continue", "port", "port"] if self._racing else ["continue", "port"]
            node["onError"] = self._draw(st.sampled_from(policies))
            if node["onError"] == "port" and "error" not in ports:
                ports = readable = (*ports, "error")
            elif node["onError"] == "continue" and "error" not in ports:
                readable = (*ports, "error")
        return node, _Drawn(id, ports, readable)

    def _joins(self, incoming: int) -> st.SearchStrategy[Any]:
        early = [{"count": self._draw(st.integers(1, incoming + 1))}, "first"] if self._racing else []
        return st.sampled_from([None, "any", "all", *early])

    def _config(self, kind: str, sight: _Sight, depth: int) -> tuple[dict[str, Any], tuple[str, ...]]:
        match kind:
            case "if":
                return {"condition": self._condition(sight)}, ("true", "false")
            case "switch":
                names = self._draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3))
                cases = [{"port": name, "when": self._condition(sight)} for name in names]
                mode = self._draw(st.sampled_from(["first", "all"]))
                return {"cases": cases, "mode": mode}, tuple(dict.fromkeys([*names, "default"]))
            case "set":
                return {"values": {"x": self._value(sight), "y": [self._value(sight)]}}, ("output",)
            case "merge":
                return {}, ("output",)
            case "filter":
                where = self._condition(sight.plus("item", "index"))
                return {"items": self._items(sight), "where": where}, ("output",)
            case "foreach":
                return self._foreach(sight, depth)
            case "while":
                return self._while(sight, depth), ("output",)
            case "stop":
                status = self._draw(st.sampled_from(["completed", "failed"]))
                return {"status": status, "output": self._value(sight)}, ()
            case _:
                fails = self._draw(st.integers(0, 4)) == 0
                return {"value": self._value(sight)} | ({"fail": True} if fails else {}), ("output",)

    def _foreach(self, sight: _Sight, depth: int) -> tuple[dict[str, Any], tuple[str, ...]]:
        config = self._body(sight.plus("item", "index"), depth) | {"items": self._items(sight)}
        config["concurrency"] = self._draw(st.integers(1, 3))
        collects = not self._racing or self._draw(st.booleans())
        if collects:
            config["continueOnItemError"] = True
        return config, ("output", "error") if collects else ("output",)

    def _while(self, sight: _Sight, depth: int) -> dict[str, Any]:
        rounds = sight.plus("index", "last")
        bound = f"{{{{ index < {self._draw(st.integers(0, 3))} }}}}"
        condition = self._draw(st.sampled_from([bound, bound, self._condition(rounds)]))
        limit = self._draw(st.integers(1, 3))
        return self._body(rounds, depth) | {"condition": condition, "maxIterations": limit}

    def _body(self, sight: _Sight, depth: int) -> dict[str, Any]:
        body = self.graph(sight, depth=depth - 1, most=3)
        if self._draw(st.booleans()):
            read = [f"nodes.{node['id']}.output" for node in body["nodes"] if _leaves_by_output(node)]
            body["result"] = self._expression(sight.plus(*read))
        return body

    def _expression(self, sight: _Sight) -> str:
        # What was drawn last comes first: what is near is read more often.
        return f"{{{{ {self._draw(st.sampled_from(sight.paths[::-1]))} }}}}"

    def _value(self, sight: _Sight) -> Any:
        return self._expression(sight) if self._draw(st.booleans()) else self._draw(_LITERALS)

    def _items(self, sight: _Sight) -> Any:
        return self._draw(_LISTS) if self._draw(st.integers(0, 3)) else self._expression(sight)

    def _condition(self, sight: _Sight) -> str:
        path = self._draw(st.sampled_from(sight.paths[::-1]))
        forms = [f"{path} == 1", f"1 == {path}", f"{path} < 2", f"{path} == null", "true", "false", "1 < 2"]
        if path.startswith("nodes."):
            forms += [f"has({path})", f"has({path})"]
        return f"{{{{ {self._draw(st.sampled_from([path, *forms]))} }}}}"


def _leaves_by_output(node: dict[str, Any]) -> bool:
    return node["pluginId"] not in ("if", "switch", "stop")


@st.composite
def definitions(draw: st.DrawFn, *, racing: bool = True, most: int = 7) -> dict[str, Any]:
    """Draw a definition.

    Args:
        draw: hypothesis's.
        racing: whether its outcome may depend on what happens first.
        most: nodes outside loops.
    """
    artist = _Artist(draw, racing)
    sight = _Sight(["vars.n", "input"])
    return artist.graph(sight, depth=2, most=most) | {"variables": {"n": draw(st.integers(0, 2))}}


#: what starts an execution
triggers = _LITERALS | _LISTS

#: which of what may happen next does, again and again from the first
schedules = st.lists(st.integers(0, 5), min_size=1, max_size=12)


def examples(count: int, number: int = 0) -> list[tuple[dict[str, Any], Any]]:
    """Return definitions whose outcome is the same in every order of events, and what starts them.

    Args:
        count: how many.
        number: the same number gives the same ones.
    """
    found: list[tuple[dict[str, Any], Any]] = []

    @seed(number)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(definition=definitions(racing=False), trigger=triggers)
    def draw(definition: dict[str, Any], trigger: Any) -> None:
        found.append((definition, trigger))

    draw()
    return found
