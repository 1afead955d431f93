"""What TorchScript computes in Python: numbers, sizes, strings, lists and dicts.

Sizes stay symbolic: plain operators on ``SymInt`` keep the expression, where torch's own kernels
for numbers would ask for its value.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from pytorch_to_mlx.sources.torchscript.raising import filled, percent, text_of
from pytorch_to_mlx.sources.torchscript.truth import DataBool, negated

Function = Callable[..., Any]


def _list_slice(items: Any, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    return items[slice(start, end, step)]


def _range_length(low: Any, high: Any, step: Any) -> Any:
    if isinstance(step, int) and step == 1 and isinstance(low, int) and low == 0:
        return high
    if isinstance(step, int) and step < 0:
        low, high, step = high, low, -step
    return _at_least_zero((high - low + step - 1) // step)


def _at_least_zero(n: Any) -> Any:
    import torch

    return max(0, n) if isinstance(n, int) else torch.sym_max(0, n)


def _extreme(pick: Function, symbolic: str) -> Function:
    def choose(a: Any, b: Any = None) -> Any:
        import torch

        if isinstance(a, (list, tuple)):
            if b is not None:
                return pick(a, b)
            result = a[0]
            for item in a[1:]:
                result = choose(result, item)
            return result
        if isinstance(a, (int, float)) and isinstance(b, (int, float)):
            return pick(a, b)
        return getattr(torch, symbolic)(a, b)

    return choose


def _append(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def _extend(items: list[Any], more: Any) -> None:
    items.extend(more)


def _insert(items: list[Any], at: int, item: Any) -> None:
    items.insert(at, item)


def _set_item(container: Any, key: Any, value: Any) -> Any:
    container[key] = value
    return container


def _delete(container: Any, key: Any) -> None:
    del container[key]


def _sort(items: list[Any], reverse: bool = False) -> None:
    items.sort(reverse=reverse)


def _format(text: str, *values: Any) -> Any:
    return filled(text, values)


def _integer(function: Function) -> Function:
    """``math.floor`` and its like, whose symbolic forms torch has under names of its own."""

    def apply(x: Any) -> Any:
        return function(x)

    return apply


def _to_int(x: Any, *rest: Any) -> Any:
    import torch

    if isinstance(x, str):
        return int(x, *rest)
    return torch.sym_int(x) if isinstance(x, (torch.SymInt, torch.SymFloat)) else int(x)


def _to_float(x: Any) -> Any:
    import torch

    return torch.sym_float(x) if isinstance(x, (torch.SymInt, torch.SymFloat)) else float(x)


def _to_bool(x: Any) -> Any:
    import torch

    if isinstance(x, (torch.SymInt, torch.SymFloat)):
        return x != 0
    return x if isinstance(x, (torch.SymBool, DataBool)) else bool(x)


def _sqrt(x: Any) -> Any:
    import torch

    return torch._sym_sqrt(x) if isinstance(x, (torch.SymInt, torch.SymFloat)) else math.sqrt(x)


def _divide(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode == "floor":
        return a // b
    if rounding_mode == "trunc":
        return _to_int(a / b) if isinstance(a, float) or isinstance(b, float) else _truncated(a, b)
    return a / b


def _truncated(a: Any, b: Any) -> Any:
    return a // b if not isinstance(a, int) or a * b >= 0 else -(-a // b)


def _pow(a: Any, b: Any) -> Any:
    return float(a**b) if isinstance(b, int) and b < 0 else a**b


def _is(a: Any, b: Any) -> bool:
    return a is b


def _or(a: Any, b: Any) -> Any:
    return a or b if isinstance(a, bool) and isinstance(b, bool) else a | b


def _and(a: Any, b: Any) -> Any:
    return a and b if isinstance(a, bool) and isinstance(b, bool) else a & b


_MATHS = (
    "exp log log2 log10 log1p expm1 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh "
    "atan2 gamma lgamma erf erfc fabs degrees radians fmod copysign factorial gcd modf frexp ldexp"
).split()

#: ``aten::name`` of overloads that take and give no tensors.
FUNCTIONS: dict[str, Function] = {
    "add": operator.add,
    "add_": operator.iadd,
    "sub": operator.sub,
    "mul": operator.mul,
    "mul_": operator.imul,
    "div": _divide,
    "floordiv": operator.floordiv,
    "remainder": operator.mod,
    "mod": operator.mod,
    "neg": operator.neg,
    "pow": _pow,
    "abs": abs,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "floor": _integer(math.floor),
    "ceil": _integer(math.ceil),
    "round": round,
    "sqrt": _sqrt,
    "isnan": math.isnan,
    "isinf": math.isinf,
    "isfinite": math.isfinite,
    "__and__": _and,
    "__or__": _or,
    "__xor__": operator.xor,
    "__lshift__": operator.lshift,
    "__rshift__": operator.rshift,
    "bitwise_not": operator.invert,
    "__not__": negated,
    "__is__": _is,
    "__isnot__": lambda a, b: a is not b,
    "__contains__": operator.contains,
    "__getitem__": operator.getitem,
    "__range_length": _range_length,
    "__derive_index": lambda i, start, step: start + i * step,
    "_set_item": _set_item,
    "Delete": _delete,
    "len": len,
    "append": _append,
    "extend": _extend,
    "insert": _insert,
    "pop": lambda items, *rest: items.pop(*rest),
    "popitem": lambda items: items.popitem(),
    "remove": lambda items, item: items.remove(item),
    "clear": lambda items: items.clear(),
    "reverse": lambda items: items.reverse(),
    "sort": _sort,
    "sorted": lambda items, *_: sorted(items),
    "index": lambda items, item: items.index(item),
    "count": lambda items, item: items.count(item),
    "copy": lambda items: items.copy(),
    "list": list,
    "dict": dict,
    "slice": _list_slice,
    "sum": sum,
    "any": any,
    "all": all,
    "keys": lambda d: list(d.keys()),
    "values": lambda d: list(d.values()),
    "items": lambda d: list(d.items()),
    "get": lambda d, key, default=None: d.get(key, default),
    "setdefault": lambda d, key, default: d.setdefault(key, default),
    "update": lambda d, other: d.update(other),
    "Int": _to_int,
    "Float": _to_float,
    "Bool": _to_bool,
    "Complex": complex,
    "str": text_of,
    "format": _format,
    "percentFormat": percent,
    "join": lambda text, items: text.join(items),
    "ord": ord,
    "chr": chr,
    "warn": lambda *_: None,
    "is_scripting": lambda: True,
    **{
        name: (lambda method: lambda text, *rest: getattr(text, method)(*rest))(name)
        for name in (
            "lower upper strip lstrip rstrip split rsplit splitlines startswith endswith replace "
            "find rfind isdigit isalpha isalnum isspace islower isupper title capitalize zfill "
            "center ljust rjust partition rpartition"
        ).split()
    },
    **{name: getattr(math, name) for name in _MATHS if hasattr(math, name)},
}

#: ``prim::name`` of the same kind.
PRIMITIVES: dict[str, Function] = {
    "min": _extreme(min, "sym_min"),
    "max": _extreme(max, "sym_max"),
    "abs": abs,
    "unchecked_cast": lambda x: x,
    "unchecked_unwrap_optional": lambda x: x,
    "annotate": lambda x: x,
    "data": lambda x: x.detach(),
    "Print": lambda *_: None,
    "StringIndex": lambda text, i: text[i],
    "rangelist": lambda n: list(range(n)),
    "shape": lambda x: list(x.shape),
    "device": lambda x: x.device,
    "type": lambda device: device.type,
    "layout": lambda x: 0,
    "is_cuda": lambda x: x.is_cuda,
    "is_cpu": lambda x: x.is_cpu,
    "is_quantized": lambda x: x.is_quantized,
    "is_sparse": lambda x: x.is_sparse,
    "is_mps": lambda x: x.is_mps,
    "is_meta": lambda x: False,
    "is_nested": lambda x: False,
    "requires_grad": lambda x: False,
    "grad": lambda x: None,
    "itemsize": lambda x: x.element_size(),
    "ndim": lambda x: x.dim(),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "H": lambda x: x.H,
    "mH": lambda x: x.mH,
    "real": lambda x: x.real,
    "imag": lambda x: x.imag,
}

#: Tensor ops on sizes: a trace writes arithmetic of sizes as ops on 0-D tensors, which are numbers
#: here.
ON_NUMBERS: dict[str, Function] = {
    "add": lambda a, b, *, alpha=1: a + (b if alpha == 1 else alpha * b),
    "sub": lambda a, b, *, alpha=1: a - (b if alpha == 1 else alpha * b),
    "rsub": lambda a, b, alpha=1: b - (a if alpha == 1 else alpha * a),
    "mul": operator.mul,
    "div": _divide,
    "true_divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "neg": operator.neg,
    "pow": _pow,
    "floor": _integer(math.floor),
    "ceil": _integer(math.ceil),
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "abs": abs,
    "minimum": _extreme(min, "sym_min"),
    "maximum": _extreme(max, "sym_max"),
    "logical_not": negated,
    **dict.fromkeys(
        ("detach", "clone", "contiguous", "cpu", "item", "alias"), lambda x, *_, **__: x
    ),
}
