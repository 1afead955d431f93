"""Runs a TorchScript graph in Python, with torch's own ops: eagerly, or while torch.export traces.

A method's graph is compiled to steps once. Conditions that Python knows choose a branch; those that
depend on sizes or on data become control flow of the traced program
(:mod:`~pytorch_to_mlx.sources.torchscript.control`).
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from functools import cache
from typing import Any

from pytorch_to_mlx.errors import CaptureError
from pytorch_to_mlx.sources.torchscript.appended import Appended
from pytorch_to_mlx.sources.torchscript.block import Block, Env, Step
from pytorch_to_mlx.sources.torchscript.calls import aten_call, dtype_number
from pytorch_to_mlx.sources.torchscript.frames import get_attribute, set_attribute
from pytorch_to_mlx.sources.torchscript.graphs import CALL, source_line
from pytorch_to_mlx.sources.torchscript.host import PRIMITIVES
from pytorch_to_mlx.sources.torchscript.packed import PACKED, constant_value
from pytorch_to_mlx.sources.torchscript.raising import Refused, message_of
from pytorch_to_mlx.sources.torchscript.truth import DataBool


class Constants:
    """Tensors that stand in a method's code, as buffers of its module under their names there."""

    def __init__(self, module: Any, owner: str) -> None:
        self.module = module
        self.owner = owner  # the module's name in the code

    def add(self, name: str, value: Any) -> str:
        """The name of the buffer: as in the code (``self.conv.weight``, frozen), or by number."""
        name = name.removeprefix("self.").removesuffix("_mkldnn")
        base = re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_")
        base = base if base and not base[0].isdigit() else f"constant_{base}".rstrip("_")
        free, n = base, 2
        while hasattr(self.module, free):
            free, n = f"{base}_{n}", n + 1
        self.module.register_buffer(free, value, persistent=False)
        return free


def compile_block(block: Any, constants: Constants) -> Block:
    """A graph or block as steps; ``constants`` keeps the tensors that stand in the code.

    Raises:
        CaptureError: it holds an op that is not known, with its file and line.
    """
    compiled = Block(
        [v.debugName() for v in block.inputs()], [v.debugName() for v in block.outputs()], []
    )
    for node in block.nodes():
        try:
            step = _compile(node, compiled, constants)
        except CaptureError as error:
            file, line = source_line(node)
            error.origin = error.origin or (f"{file}:{line}" if file else "")
            raise
        compiled.reads.update(v.debugName() for v in node.inputs())
        compiled.times.update({v.debugName() for v in node.inputs()})
        compiled.makes.update(v.debugName() for v in node.outputs())
        if step is not None:
            compiled.steps.append(step)
            compiled.made_by.update((v.debugName(), step) for v in node.outputs())
            if node.kind() in ("prim::Constant", "aten::slice"):
                inputs = [v.debugName() for v in node.inputs()]
                compiled.views[node.output().debugName()] = inputs
    return compiled


def _loop_facts(block: Any, compiled: Block) -> None:
    """What the body of a loop does with its index, and whether only its count ends it."""
    index, condition = next(block.inputs()), next(block.outputs())
    node = condition.node()
    compiled.always = node.kind() == "prim::Constant" and condition.toIValue() is True
    for use in index.uses():
        user = use.user
        inputs = list(user.inputs())
        axis = inputs[1].toIValue() if user.kind() == "aten::select" and use.offset == 2 else None
        if user.kind() == "aten::__getitem__" and use.offset == 1:
            axis = 0
        if axis is None or user.output().debugName() not in compiled.made_by:
            compiled.uses_index = True
        else:
            compiled.picks.append((user.output().debugName(), inputs[0].debugName(), axis))


def _compile(node: Any, into: Block, constants: Constants) -> Step | None:
    from pytorch_to_mlx.sources.torchscript import control

    kind = node.kind()
    names = [v.debugName() for v in node.inputs()]
    outputs = [v.debugName() for v in node.outputs()]
    if kind in ("prim::If", "prim::Loop"):
        inner = [compile_block(b, constants) for b in node.blocks()]
        for block in inner:
            into.note_inner(block)
        place = source_line(node)
        if kind == "prim::If":
            into.raises |= all(block.raises for block in inner)
            kinds = {v.type().kind() for v in node.outputs()}
            numbers = bool(kinds) and kinds <= {"BoolType", "IntType"}
            return control.If(names[0], inner[0], inner[1], outputs, place, numbers)
        _loop_facts(next(node.blocks()), inner[0])
        return control.Loop(names, inner[0], outputs, place)
    if kind == "prim::RaiseException":
        into.raises = True
        return _raise(names)
    if kind == CALL:
        into.calls.add((names[0], node.s("name")))
    if kind in ("prim::GetAttr", "prim::SetAttr"):
        into.attributes.add((names[0], node.s("name"), kind == "prim::SetAttr"))
        if outputs:
            into.module_names[(names[0], node.s("name"))] = outputs[0]
    into.note(node)
    function = _function(node, into, constants)
    if function is None:
        return None
    return _store(_placed(source_line(node)), function, names, outputs)


def _store(place: Any, function: Any, names: list[str], outputs: list[str]) -> Step:
    if len(outputs) == 1:
        (output,) = outputs

        def one(env: Env) -> None:
            env[output] = place(function, [env[n] for n in names])

        return one

    def several(env: Env) -> None:
        results = place(function, [env[n] for n in names])
        if outputs:
            env.update(zip(outputs, results, strict=True))

    return several


def _call(function: Any, args: list[Any]) -> Any:
    return function(*args)


@cache
def _placed(place: tuple[str, int]) -> Any:
    """A call whose frame says that it stands at a line of the model's source.

    torch records the frames of ``forward``s for every op that it traces; so messages, names and
    reports point into the source and not here.
    """
    file, line = place
    if not file:
        return _call
    code = _call.__code__.replace(co_filename=file, co_firstlineno=line - 1, co_name="forward")
    return types.FunctionType(code, {})


def _function(node: Any, into: Block, constants: Constants) -> Callable[..., Any] | None:
    """What a node computes of its inputs."""
    kind = node.kind()
    namespace, _, name = kind.partition("::")
    if kind in _OF_NODE:
        return _OF_NODE[kind](node)
    if kind in ("prim::Constant", "prim::ConstantMKLDNNTensor"):
        return _constant(node, into, constants)
    if kind in PACKED:
        return PACKED[kind](node)
    if namespace == "prim" and name in PRIMITIVES:
        return PRIMITIVES[name]
    if namespace == "prim":
        hint = _OPTIMIZED if any(n in kind for n in ("MKLDNN", "mkldnn", "Fusion", "Group")) else ""
        raise CaptureError(f"the TorchScript op {kind} is not known", op=kind, hint=hint)
    return aten_call(node)


_OPTIMIZED = (
    "torch.jit.optimize_for_inference made it for one processor: convert the module as it was "
    "before"
)


def _constant(node: Any, into: Block, constants: Constants) -> Callable[..., Any]:
    import torch

    output = node.output()
    if output.type().kind() == "FunctionType":
        return lambda: None
    value = constant_value(node)
    if isinstance(value, torch.Tensor):
        if value.ndim == 0 and value.dtype in (torch.int64, torch.float64, torch.bool):
            value = value.item()
        else:
            name = constants.add(output.debugName(), value)
            into.attributes.add((constants.owner, name, False))
            return lambda: get_attribute(constants.module, name)
    if isinstance(value, (list, dict)):
        return lambda: value.copy()
    if isinstance(value, torch.device):
        value = torch.device("cpu")  # where conversion runs, whatever the script was made for
    return lambda: value


def _raise(names: list[str]) -> Step:
    def step(env: Env) -> None:
        raise Refused(message_of([env.get(n) for n in names]))

    return step


# -- nodes whose attributes matter -----------------------------------------------------------------


def _get_attribute(node: Any) -> Callable[..., Any]:
    name = node.s("name")
    return lambda owner: get_attribute(owner, name)


def _set_attribute(node: Any) -> Callable[..., Any]:
    name = node.s("name")
    return lambda owner, value: set_attribute(owner, name, value)


def _module_call(node: Any) -> Callable[..., Any]:
    name = node.s("name")

    def call(module: Any, *args: Any) -> Any:
        return module(*args) if name == "forward" else getattr(module, name)(*args)

    return call


def _dict(_: Any) -> Callable[..., Any]:
    return lambda *items: dict(zip(items[::2], items[1::2], strict=True))


def _unpack(node: Any) -> Callable[..., Any]:
    count = node.outputsSize()

    def unpack(items: Any) -> Any:
        items = list(items.values()) if isinstance(items, dict) else items
        items = items.taken_apart(count) if isinstance(items, Appended) else items
        if len(items) != count:
            raise ValueError(f"{len(items)} values for {count} names")
        return items[0] if count == 1 else items

    return unpack


def _object(node: Any) -> Callable[..., Any]:
    return lambda: types.SimpleNamespace()


def _is_instance(node: Any) -> Callable[..., Any]:
    """Asks for the types that torch's compiler could not tell apart: optionals, unions, numbers."""
    types = node.tys("types")
    return lambda value: any(_fits(value, t) for t in types)


def _fits(value: Any, kind: Any) -> bool:
    import torch

    name = kind.kind()
    if name == "OptionalType":
        return value is None or _fits(value, kind.getElementType())
    known: dict[str, Any] = {
        "NoneType": type(None),
        "TensorType": torch.Tensor,
        "IntType": (int, torch.SymInt),
        "FloatType": (float, torch.SymFloat),
        "BoolType": (bool, torch.SymBool, DataBool),
        "StringType": str,
        "ListType": (list, Appended),
        "DictType": dict,
        "TupleType": tuple,
    }
    if name not in known:
        raise CaptureError(f"the TorchScript code asks for an instance of {kind}")
    return isinstance(value, known[name]) and not (name == "IntType" and isinstance(value, bool))


def _number_to_tensor(_: Any) -> Callable[..., Any]:
    return lambda x: x


_OF_NODE: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "prim::GetAttr": _get_attribute,
    "prim::SetAttr": _set_attribute,
    CALL: _module_call,
    "prim::ListConstruct": lambda _: lambda *items: list(items),
    "prim::TupleConstruct": lambda _: lambda *items: tuple(items),
    "prim::DictConstruct": _dict,
    "prim::ListUnpack": _unpack,
    "prim::TupleUnpack": _unpack,
    "prim::TupleIndex": lambda _: lambda items, i: items[i],
    "prim::TupleSlice": lambda node: lambda items: items[node.i("beg") : node.i("end")],
    "prim::NumToTensor": _number_to_tensor,
    "prim::ImplicitTensorToNum": lambda _: lambda x: x.item() if hasattr(x, "item") else x,
    "prim::Uninitialized": lambda _: lambda: None,
    "prim::CreateObject": _object,
    "prim::Enter": lambda _: lambda x: x,
    "prim::Exit": lambda _: lambda *_: None,
    "prim::dtype": lambda _: lambda x: dtype_number(x.dtype),
    "prim::isinstance": _is_instance,
}
