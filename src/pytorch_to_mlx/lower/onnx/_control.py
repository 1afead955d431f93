"""``If``, ``Loop`` and ``Scan`` as the graph's ``if``, ``while`` and ``for`` nodes.

Bodies see outer values by name. A size that a branch or an iteration changes becomes a symbol of
its own; a rank or dtype that changes is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx

from pytorch_to_mlx.graph import Builder, Graph, Node, Value, call
from pytorch_to_mlx.graph.build import attach_outputs, current_builder
from pytorch_to_mlx.graph.dims import dims_equal, free_symbols, is_static
from pytorch_to_mlx.graph.dtypes import DType
from pytorch_to_mlx.graph.ir import IF, RETURN, SCAN, WHILE
from pytorch_to_mlx.lower.onnx._common import array, fresh, ints
from pytorch_to_mlx.lower.onnx._context import node
from pytorch_to_mlx.lower.onnx._decisions import decided, take
from pytorch_to_mlx.lower.onnx._nesting import flat, nested, nesting
from pytorch_to_mlx.lower.onnx._values import Growing, Known, Stacked
from pytorch_to_mlx.lower.registry import Unsupported

#: How often a loop body is lowered anew to find the sizes that it changes.
ROUNDS = 4
#: How often a loop over sequences may run.
LONGEST = 256


def body_results(body: onnx.GraphProto, inputs: Sequence[Any], builder: Builder) -> list[Any]:
    """Lowers a body into the builder with these values for its inputs."""
    context = node()
    env = context.scope_env.new_child({i.name: v for i, v in zip(body.input, inputs, strict=True)})
    failed = len(context.lowering.unsupported)
    results: list[Any] = context.lowering.subgraph(body, env, builder)
    new = context.lowering.unsupported[failed:]
    if new:
        del context.lowering.unsupported[failed:]
        reasons = "; ".join(dict.fromkeys(f"{o.op}: {o.reason}" for o in new))
        raise Unsupported(f"within its body {reasons}")
    return results


def body_graph(
    body: onnx.GraphProto,
    given: Sequence[Any],
    carried: Sequence[Value],
    pick: Callable[[list[Any]], Sequence[Any]] = lambda r: r,
) -> tuple[Graph, list[Any]]:
    """The body as a graph whose inputs are ``carried``; ``pick`` chooses and makes its results.

    ``given`` are the values of the body's inputs.
    """
    outer = current_builder()
    graph = Graph()
    graph.inputs = list(carried)
    with Builder(graph) as inner, inner.at(outer.scope, outer.origin):
        results = [as_array(r) for r in pick(body_results(body, given, inner))]
        inner.add(Node(RETURN, tuple(results), scope=outer.scope, origin=outer.origin))
    return graph, results


def discard(graph: Graph) -> None:
    """Lets go of the values that a graph of no further use takes."""
    for _, n in graph.walk():
        n.set_args((), {}, {})


def as_array(value: Any) -> Value:
    if value is None or isinstance(value, list):
        raise Unsupported("sequences and optionals that control flow makes")
    return array(value)


def like(value: Value, dims: tuple[Any, ...] | None = None) -> Value:
    made = Value(dims if dims is not None else value.dims, value.dtype, hint=value.hint)
    elements = node().lowering.elements
    if value in elements:
        elements[made] = elements[value]
    return made


def add_node(
    target: str, args: tuple[Any, ...], subgraphs: dict[str, Graph], outputs: list[Value]
) -> tuple[Value, ...]:
    builder = current_builder()
    made = Node(target, args, scope=builder.scope, origin=builder.origin, subgraphs=subgraphs)
    attach_outputs(made, outputs)
    builder.add(made)
    return tuple(outputs)


def merged_dims(
    a: tuple[Any, ...], b: tuple[Any, ...], varying: Collection[Any] = ()
) -> tuple[Any, ...]:
    """Sizes that hold for both; a new symbol where they differ and ``a`` is not varying yet."""
    if len(a) != len(b):
        raise Unsupported(f"ranks that differ between branches or iterations ({len(a)}, {len(b)})")
    pairs = zip(a, b, strict=True)
    return tuple(x if x in varying or dims_equal(x, y) else fresh() for x, y in pairs)


def scalar(x: Any) -> Any:
    """A condition or count as an array without dims, or its known number."""
    if isinstance(x, Known):
        return x.item()
    value = array(x)
    return value if value.ndim == 0 else call("mx.reshape", value, ())


def branch(cond: Any, then_branch: onnx.GraphProto, else_branch: onnx.GraphProto) -> Any:
    """The results of ``If``; a known condition leaves only its branch.

    So does one of sizes whose branches give other ranks (``if size == 1: squeeze``).
    """
    chosen = cond if _is_single(cond) else scalar(cond)
    if not isinstance(chosen, Value):
        chosen = decided(chosen)
        if isinstance(chosen, bool):
            body = then_branch if chosen else else_branch
            return tuple(body_results(body, (), current_builder()))
    shapes: list[Any] = []

    def leaves(results: list[Any]) -> list[Any]:
        shapes.append(nesting(results))
        return flat(results)

    with undecided():
        then, a = body_graph(then_branch, (), (), leaves)
        other, b = body_graph(else_branch, (), (), leaves)
    if (reason := _apart(shapes, a, b)) is not None:
        if isinstance(chosen, Value):
            raise Unsupported(reason)
        discard(then)
        discard(other)
        body = then_branch if take(chosen) else else_branch
        return tuple(body_results(body, (), current_builder()))
    outputs = [like(x, merged_dims(x.dims, y.dims)) for x, y in zip(a, b, strict=True)]
    made = add_node(IF, (chosen,), {"then": then, "else": other}, outputs)
    return tuple(nested(shapes[0], iter(made)))


def _is_single(x: Any) -> bool:
    """Whether an array has one element whatever its rank, which ``.item()`` reads."""
    return isinstance(x, Value) and all(is_static(d) and int(d) == 1 for d in x.dims)


@contextmanager
def undecided() -> Iterator[None]:
    """Marks what is lowered inside as reached only under some condition."""
    lowering = node().lowering
    lowering.undecided += 1
    try:
        yield
    finally:
        lowering.undecided -= 1


def _apart(shapes: list[Any], a: list[Value], b: list[Value]) -> str | None:
    """Why the results of two branches cannot be one set of values; None if they can."""
    if shapes[0] != shapes[1]:
        return "branches that give sequences of different lengths, or none"
    for x, y in zip(a, b, strict=True):
        if x.dtype != y.dtype:
            return "dtypes that differ between branches"
        if x.ndim != y.ndim:
            return f"ranks that differ between branches ({x.ndim}, {y.ndim})"
    return None


# -- loops -----------------------------------------------------------------------------------------


def loop(M: Any, cond: Any, initial: Sequence[Any], body: onnx.GraphProto) -> Any:
    """The results of ``Loop``: the carried values, then what each iteration gave, stacked."""
    count = len(initial)
    endless = always_true(body) and (cond is None or cond_is_true(cond))
    few = M is None or (isinstance(M, Known) and not M.symbolic and M.item() <= LONGEST)
    growing = endless and not few and all(v == [] or is_array_like(v) for v in initial)
    if not growing and any(v is None or isinstance(v, list) for v in initial):
        return unrolled_loop(M, cond, list(initial), body)
    if endless and M is not None:
        return counted_loop(M, initial, body)
    return general_loop(M, cond, [as_array(v) for v in initial], body, count)


def is_array_like(value: Any) -> bool:
    return isinstance(value, (Value, Known))


def cond_is_true(cond: Any) -> bool:
    return isinstance(cond, Known) and bool(cond.item()) is True


def always_true(body: onnx.GraphProto) -> bool:
    """Whether a loop body hands its condition on, or gives a constant truth (its own or one from
    outside)."""
    name = body.output[0].name
    for _ in range(len(body.node) + 1):
        if name == body.input[1].name:
            return True
        maker = next((n for n in body.node if name in n.output), None)
        if maker is not None and maker.op_type == "Identity":
            name = maker.input[0]
            continue
        if maker is not None and maker.op_type == "Constant":
            from pytorch_to_mlx.lower.onnx._attributes import attributes_of

            value = attributes_of(maker).get("value")
            return isinstance(value, Known) and bool(value.array.reshape(-1)[0])
        if maker is not None:
            return False
        mine = [t for t in body.initializer if t.name == name]
        if mine:
            return bool(onnx.numpy_helper.to_array(mine[0]).reshape(-1)[0])
        inside = any(i.name == name for i in body.input)
        outer = None if inside else node().scope_env.get(name)
        return isinstance(outer, Known) and cond_is_true(outer)
    return False


def settled(
    initial: Sequence[Value], make: Callable[[list[Value]], tuple[Graph, list[Value], int]]
) -> tuple[Graph, list[Value], list[Value]]:
    """Lowers a loop body until the sizes of its carried values hold for every iteration.

    ``make`` lowers it for carried values and says where the next ones start among its results.
    """
    carried = [like(v) for v in initial]
    varying: set[Any] = set()  # sizes that a former round found to change
    for _ in range(ROUNDS):
        graph, results, at = make(carried)
        nexts = results[at : at + len(carried)]
        dims = [merged_dims(v.dims, n.dims, varying) for v, n in zip(carried, nexts, strict=True)]
        for v, n in zip(carried, nexts, strict=True):
            if v.dtype != n.dtype:
                raise Unsupported("a loop that changes the dtype of what it carries")
        if all(
            dims_equal(x, y)
            for v, d in zip(carried, dims, strict=True)
            for x, y in zip(v.dims, d, strict=True)
        ):
            return graph, results, carried
        discard(graph)
        old = {d for v in carried for d in v.dims}
        varying |= {d for ds in dims for d in ds if d not in old}
        carried = [like(v, d) for v, d in zip(carried, dims, strict=True)]
    raise Unsupported("a loop whose sizes do not settle")


def unrolled_loop(M: Any, cond: Any, carried: list[Any], body: onnx.GraphProto) -> Any:
    """A loop over sequences, which exist only while lowering: its iterations one by one.

    Raises:
        Unsupported: only the running model knows how often it runs.
    """
    if M is not None and not (isinstance(M, Known) and not M.symbolic):
        raise Unsupported("a loop over sequences that runs as often as only the model knows")
    limit = LONGEST if M is None else int(M.item())
    if limit > LONGEST:
        raise Unsupported(f"a loop over sequences that runs {limit} times")
    count, step = len(carried), 0
    going = Known(np.array(True), "bool") if cond is None else cond
    rows: list[list[Any]] = []
    while step < limit:
        if not isinstance(going, Known):
            raise Unsupported("a loop over sequences that ends where only the model knows")
        if not going.item():
            break
        number = Known(np.array(step, np.int64), "int64")
        going, *results = body_results(body, (number, going, *carried), current_builder())
        carried, step = results[:count], step + 1
        rows.append([as_array(v) for v in results[count:]])
    if M is None and step == LONGEST:
        raise Unsupported("a loop over sequences without an end")
    scans = len(body.output) - 1 - count
    if scans and not rows:
        raise Unsupported("a loop over sequences that never runs, whose results have no shape")
    stacked = [call("mx.stack", tuple(row[k] for row in rows)) for k in range(scans)]
    return (*carried, *stacked)


def counted_loop(M: Any, initial: Sequence[Any], body: onnx.GraphProto) -> Any:
    """A loop that runs exactly ``M`` times, as ``for`` over the iteration numbers.

    A sequence that starts empty and gets one element each time is what iterations give, stacked.
    """
    (trips,) = ints(M)
    numbers = call("mx.arange", trips, dtype=DType("int64"))
    step = Value((), "int64", hint="step")
    grows = [isinstance(v, list) for v in initial]
    start = [as_array(v) for v, growing in zip(initial, grows, strict=True) if not growing]
    known_sizes = _sizes_at_hand()

    def make(carried: list[Value]) -> tuple[Graph, list[Value], int]:
        true = Known(np.array(True), "bool")
        arrays = iter(carried)
        given = [Growing() if growing else next(arrays) for growing in grows]

        def pick(results: list[Any]) -> list[Any]:
            states, scans = results[1 : 1 + len(grows)], results[1 + len(grows) :]
            pairs = list(zip(states, given, grows, strict=True))
            kept = [s for s, _, growing in pairs if not growing]
            return [*kept, *scans, *(_added(s, g) for s, g, growing in pairs if growing)]

        graph, results = body_graph(body, (step, true, *given), (*carried, step), pick)
        return graph, results, 0

    graph, results, carried = settled(start, make)
    more = results[len(carried) :]
    scans = len(body.output) - 1 - len(grows)
    if any(free_symbols(list(r.dims)) - known_sizes for r in more[scans:]):
        raise Unsupported("a sequence whose elements' sizes change from iteration to iteration")
    outputs = [like(c) for c in carried] + [like(r, (trips, *r.dims)) for r in more]
    made = add_node(SCAN, (tuple(start), (numbers,)), {"body": graph}, outputs)
    arrays, sequences = iter(made[: len(carried)]), iter(made[len(carried) + scans :])
    finals = [Stacked(next(sequences)) if growing else next(arrays) for growing in grows]
    return (*finals, *made[len(carried) : len(carried) + scans])


def _added(state: Any, given: Any) -> Any:
    """The one element that an iteration put behind a sequence."""
    if not isinstance(state, Growing) or state.before is not given:
        raise Unsupported("a loop that does other things to a sequence than put one element behind")
    return state.element


def _sizes_at_hand() -> set[Any]:
    """The size symbols that exist outside of a loop about to be made."""
    graph = node().lowering.graph
    values = [*graph.inputs, *(v for n in current_builder().nodes for v in n.outputs)]
    shaped = [list(v.dims) for v in values if v.shape is not None]
    return free_symbols(shaped) | {v.symbol for v in values if v.symbol is not None}


def general_loop(M: Any, cond: Any, initial: list[Value], body: onnx.GraphProto, count: int) -> Any:
    """A loop that its body may end: ``while`` over the number, the condition and what it carries.

    What iterations give is carried as arrays that grow by concatenation.
    """
    limit = None if M is None else scalar(M)
    limit = call("mx.array", limit, dtype=DType("int64")) if isinstance(limit, int) else limit
    start = call("mx.array", 0, dtype=DType("int64"))
    truth = call("mx.array", True, dtype=DType("bool")) if cond is None else array(cond)
    first = [start, truth if truth.ndim == 0 else call("mx.reshape", truth, ()), *initial]
    extra = len(body.output) - 1 - count
    shapes = _iteration_shapes(body, first, count) if extra else []
    if any(free_symbols(list(v.dims)) - _sizes_at_hand() for v in shapes):
        raise Unsupported("iterations whose results have sizes that only they know")
    first += [call("mx.zeros", (0, *v.dims), DType(str(v.dtype))) for v in shapes]

    def make(carried: list[Value]) -> tuple[Graph, list[Value], int]:
        number, _, *state = carried

        def pick(results: list[Any]) -> list[Any]:
            going, *rest = results
            going = array(going)
            going = going if going.ndim == 0 else call("mx.reshape", going, ())
            grown = [
                call("mx.concatenate", (old, call("mx.expand_dims", array(new), 0)), axis=0)
                for old, new in zip(state[count:], rest[count:], strict=True)
            ]
            return [number + 1, going, *rest[:count], *grown]

        graph, results = body_graph(body, (*carried[: 2 + count],), carried, pick)
        return graph, results, 0

    graph, _, carried = settled(first, make)
    test = [like(c) for c in carried]
    outer = current_builder()
    condition = Graph()
    condition.inputs = test
    with Builder(condition) as inner, inner.at(outer.scope, outer.origin):
        going = test[1]
        if limit is not None:
            going = call("mx.logical_and", going, call("mx.less", test[0], limit))
        inner.add(Node(RETURN, (going,), scope=outer.scope, origin=outer.origin))
    outputs = [like(c) for c in carried]
    results = add_node(WHILE, tuple(first), {"condition": condition, "body": graph}, outputs)
    return results[2:]


def _iteration_shapes(body: onnx.GraphProto, first: list[Value], count: int) -> list[Value]:
    """What one iteration gives, from a trial lowering that is thrown away."""
    carried = [like(v) for v in first]
    graph, results = body_graph(body, carried, carried)
    discard(graph)
    return results[1 + count :]
