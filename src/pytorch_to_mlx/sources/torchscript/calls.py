"""One ATen call of a TorchScript graph, made with torch's own op of the same schema."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from pytorch_to_mlx.errors import CaptureError
from pytorch_to_mlx.sources.torchscript.appended import Appended
from pytorch_to_mlx.sources.torchscript.frames import FRAMES
from pytorch_to_mlx.sources.torchscript.fused import FUSED
from pytorch_to_mlx.sources.torchscript.host import FUNCTIONS, ON_NUMBERS
from pytorch_to_mlx.sources.torchscript.truth import of_tensor

_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


@cache
def _dtypes() -> tuple[Any, ...]:
    """torch's dtypes by the numbers that TorchScript has for them."""
    import torch

    names = (
        "uint8 int8 int16 int32 int64 float16 float32 float64 complex32 complex64 complex128 bool "
        "qint8 quint8 qint32 bfloat16"
    )
    return tuple(getattr(torch, n) for n in names.split())


def dtype_number(dtype: Any) -> int:
    """The number of a dtype in TorchScript."""
    return _dtypes().index(dtype)


def to_dtype(value: Any) -> Any:
    return _dtypes()[value] if type(value) is int else value


def _to_layout(value: Any) -> Any:
    import torch

    return None if value is None else torch.strided


def _to_memory_format(value: Any) -> Any:
    import torch

    formats = (
        torch.contiguous_format,
        torch.preserve_format,
        torch.channels_last,
        torch.channels_last_3d,
    )
    return formats[value] if type(value) is int else value


_CONVERSIONS = {
    "ScalarType": to_dtype,
    "Layout": _to_layout,
    "MemoryFormat": _to_memory_format,
}


def aten_call(node: Any) -> Callable[..., Any]:
    """What a node of the ``aten`` (or another operator) namespace computes, of its inputs in order.

    Raises:
        CaptureError: torch has no such op.
    """
    import torch

    kind, name = node.kind(), node.kind().partition("::")[2]
    if kind.startswith("aten::") and name in FUSED:
        return FUSED[name]
    own = _OWN.get(name) if kind.startswith("aten::") else None
    text = node.schema()
    if not text or text.startswith("("):
        if own is None and name in FUNCTIONS:
            return FUNCTIONS[name]
        if own is None:
            raise CaptureError(f"the TorchScript op {kind} is not known", op=kind)
        return lambda *args: own(dict(enumerate(args)))
    schema = torch._C.parse_schema(text)
    types = [str(a.type) for a in schema.arguments]
    if own is not None:
        names = [a.name for a in schema.arguments]
        return lambda *args: own(dict(zip(names, args, strict=True)))
    tensors = "Tensor" in " ".join([*types, *(str(r.type) for r in schema.returns)])
    if kind.startswith("aten::") and name in FUNCTIONS and (not tensors or name in _ON_LISTS):
        function = FUNCTIONS[name]
        if "Tensor" not in types:
            return _without_defaults(function, schema)
    return _operator(kind, schema)


#: Host functions whose items may be tensors.
_ON_LISTS = frozenset(
    "append extend insert pop _set_item __getitem__ Delete len list copy clear reverse slice "
    "keys values items get setdefault update add __contains__ __is__ __isnot__ dict index".split()
)


def _without_defaults(function: Any, schema: Any) -> Callable[..., Any]:
    """A host function as the schema calls it: its keywords by name, those not given left out."""
    if "..." in str(schema):
        return cast("Callable[..., Any]", function)
    keywords = [a.name for a in schema.arguments if a.kwarg_only]
    count = len(schema.arguments) - len(keywords)

    def call(*args: Any) -> Any:
        named = zip(keywords, args[count:], strict=False)
        return function(*args[:count], **{k: v for k, v in named if v is not None})

    return call


def _operator(kind: str, schema: Any) -> Callable[..., Any]:
    """The op itself, called with the schema's arguments."""
    import torch

    namespace, _, name = kind.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name, None)
    overload = getattr(packet, schema.overload_name or "default", None)
    if overload is None:
        raise CaptureError(f"the TorchScript op {kind} is not known to this torch", op=kind)
    arguments = overload._schema.arguments
    convert = [_conversion(str(a.real_type)) for a in arguments]
    count = sum(not a.kwarg_only for a in arguments)
    keywords = [a.name for a in arguments if a.kwarg_only]
    slots = [i for i, a in enumerate(arguments) if str(a.type) == "Tensor"]
    recurrent = overload._overloadname if kind.startswith("aten::") and name in _RECURRENT else ""

    def call(*given: Any) -> Any:
        args = [a if c is None else c(a) for c, a in zip(convert, given, strict=False)]
        named = {k: v for k, v in zip(keywords, args[count:], strict=False) if v is not None}
        if args and isinstance(args[0], Appended):
            return getattr(args[0], name)(*args[1:count])
        numbers = [i for i in slots if i < len(args) and not isinstance(args[i], torch.Tensor)]
        if numbers and len(numbers) == len(slots) and name in ON_NUMBERS:
            return ON_NUMBERS[name](*args[:count], **named)
        if recurrent == "input":  # capture replaces these by ops that keep the length dynamic
            return getattr(torch._VF, name)(*args[:count])
        if recurrent == "data" and args[1].ndim == 2:  # so does it with packs: padded, and lengths
            packed = getattr(torch.ops.p2m, f"packed_{name}")
            return packed(args[0], args[1][0], *args[2:count])
        if packet and any(isinstance(args[i], (torch.SymInt, torch.SymFloat)) for i in numbers):
            return packet(*args[:count], **named)
        return overload(*args[:count], **named)

    return call


def _conversion(real_type: str) -> Callable[[Any], Any] | None:
    return next((c for name, c in _CONVERSIONS.items() if name in real_type), None)


# -- ops that have forms of their own in TorchScript ----------------------------------------------


def _to(given: dict[Any, Any]) -> Any:
    import torch

    x = given.get("self", given.get(0))
    if not isinstance(x, torch.Tensor):
        return x
    other = given.get("other")
    dtype = other.dtype if other is not None else to_dtype(given.get("dtype"))
    copy = bool(given.get("copy"))
    dtype = x.dtype if dtype is None else dtype
    return torch.ops.aten.to.dtype(x, dtype, False, copy)


def _size(given: dict[Any, Any]) -> Any:
    x, dim = given["self"], given.get("dim")
    return list(x.shape) if dim is None else x.shape[dim]


def _item(given: dict[Any, Any]) -> Any:
    import torch

    x = next(iter(given.values()))
    return x.item() if isinstance(x, torch.Tensor) else x


def _as(name: str) -> Callable[[dict[Any, Any]], Any]:
    """``int(x)`` and its like, of a tensor or a number."""

    def convert(given: dict[Any, Any]) -> Any:
        value = _item(given)
        return FUNCTIONS[name](value, *list(given.values())[1:])

    return convert


def _implicit_int(given: dict[Any, Any]) -> Any:
    """An integer; of a pack that capture keeps as lengths, its first size is how many they are."""
    x = next(iter(given.values()))
    return x.shape[0] if getattr(x, "ndim", 0) == 1 else _as("Int")(given)


def _vf(name: str) -> Callable[[dict[Any, Any]], Any]:
    """A function of torch that capture may have replaced."""

    def call(given: dict[Any, Any]) -> Any:
        import torch

        return getattr(torch._VF, name)(*given.values())

    return call


def _to_bool(given: dict[Any, Any]) -> Any:
    import torch

    value = next(iter(given.values()))
    return of_tensor(value) if isinstance(value, torch.Tensor) else FUNCTIONS["Bool"](value)


def _tensor(given: dict[Any, Any]) -> Any:
    import torch

    data = next(iter(given.values()))
    dtype = to_dtype(given.get("dtype"))
    if isinstance(data, Appended):
        data = data.stacked()
    if isinstance(data, torch.Tensor):
        return data.clone() if dtype is None else data.to(dtype, copy=True)
    if isinstance(data, (torch.SymInt, torch.SymFloat)):
        default = torch.int64 if isinstance(data, torch.SymInt) else torch.get_default_dtype()
        return torch.scalar_tensor(data, dtype=dtype or default)
    if isinstance(data, (list, tuple)) and any(isinstance(v, torch.SymInt) for v in data):
        parts = [torch.scalar_tensor(v, dtype=dtype or torch.int64) for v in data]
        return torch.stack(parts)
    if FRAMES or not isinstance(data, (list, tuple)):
        return _filled(data, dtype)
    return torch.tensor(data, dtype=dtype)


def _filled(data: Any, dtype: Any) -> Any:
    """Numbers as a tensor that ops make: control flow of torch cannot hold constants."""
    import torch

    if isinstance(data, (list, tuple)) and data:
        return torch.stack([_filled(v, dtype) for v in data])
    if isinstance(data, (list, tuple)):
        return torch.zeros(0, dtype=dtype)
    kind = torch.bool if isinstance(data, bool) else None
    kind = torch.int64 if kind is None and isinstance(data, int) else kind
    return torch.full((), data, dtype=dtype or kind)


def _device(given: dict[Any, Any]) -> Any:
    import torch

    return torch.device(*(v for v in given.values() if v is not None))


def _length(given: dict[Any, Any]) -> Any:
    import torch

    x = next(iter(given.values()))
    if isinstance(x, Appended):
        return x.count
    return x.shape[0] if isinstance(x, torch.Tensor) else len(x)


def _unbind(given: dict[Any, Any]) -> Any:
    """The slices along a dim: a list of unknown length where its size is dynamic."""
    import torch

    x, dim = given["self"], given["dim"]
    if isinstance(x.shape[dim], torch.SymInt):
        return Appended([], x.movedim(dim, 0))
    return list(x.unbind(dim))


def _first(given: dict[Any, Any]) -> Any:
    return next(iter(given.values()))


_OWN: dict[str, Callable[[dict[Any, Any]], Any]] = {
    "to": _to,
    "type_as": lambda g: _to({"self": g["self"], "other": g["other"]}),
    "cpu": _first,
    "cuda": _first,
    "wait": _first,  # torch.jit.fork called its function at once
    "size": _size,
    "numel": lambda g: g["self"].numel(),
    "dim": lambda g: g["self"].dim(),
    "len": _length,
    "unbind": _unbind,
    "item": _item,
    "Int": _as("Int"),
    "Float": _as("Float"),
    "Bool": _to_bool,
    "IntImplicit": _implicit_int,
    **{name: _vf(name) for name in ("_pack_padded_sequence", "_pad_packed_sequence")},
    "FloatImplicit": _as("Float"),
    "ScalarImplicit": _item,
    "tensor": _tensor,
    "as_tensor": _tensor,
    "device": _device,
    "is_floating_point": lambda g: g["self"].is_floating_point(),
    "is_complex": lambda g: g["self"].is_complex(),
    "is_contiguous": lambda g: True,
    "requires_grad_": _first,
    "set_grad_enabled": lambda g: None,
    "manual_seed": lambda g: None,
}
