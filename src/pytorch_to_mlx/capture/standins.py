"""Functions that torch.export refuses although a form of them traces: that form, while tracing.

Some of torch's functions look at values before they compute: ``cov`` checks its weights,
``one_hot`` finds the number of classes, ``ctc_loss`` sums the lengths of its targets. To an export
the values are unknown. While a model is captured, each such function is a few others that need no
look, with the value as a symbol where it decides a size; what has no such form is an op of the
``p2m`` library with a kernel (ATen's) and a fake one that knows shapes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.checks import passing_checks
from pytorch_to_mlx.capture.recurrence import opaque_recurrences

if TYPE_CHECKING:
    from torch import Tensor

Standin = Callable[..., Any]
_REDUCTIONS = ("none", "mean", "sum")


# -- statistics -----------------------------------------------------------------------------------


def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """Rows are variables, columns observations; weights repeat or weigh the observations."""
    x = input.reshape(1, -1) if input.ndim < 2 else input
    x = x if x.is_floating_point() or x.is_complex() else x.float()
    weights = aweights if fweights is None else fweights
    if fweights is not None and aweights is not None:
        weights = fweights * aweights
    if weights is None:
        mean = x.mean(1, keepdim=True)
        total: Any = x.shape[1]
    else:
        total = weights.sum()
        mean = (x * weights).sum(1, keepdim=True) / total
    if aweights is None or weights is None or correction == 0:
        norm = total - correction
    else:
        norm = total - correction * (weights * aweights).sum() / total
    norm = norm.clamp(min=0) if weights is not None else max(norm, 0)
    x = x - mean
    weighted = x if weights is None else x * weights
    return ((x @ weighted.mT.conj()) / norm).squeeze()


def corrcoef(input: Tensor) -> Tensor:
    """The covariances over the standard deviations, each part within [-1, 1]."""
    import torch

    c = cov(input)
    if c.ndim == 0:
        return c / c
    deviations = c.diagonal().real.sqrt()
    c = c / deviations[:, None] / deviations
    if c.is_complex():
        return torch.complex(c.real.clamp(-1, 1), c.imag.clamp(-1, 1))
    return c.clamp(-1, 1)


# -- truth values and numbers of the data ---------------------------------------------------------


def equal(input: Tensor, other: Tensor) -> Any:
    """A truth value that the data decide."""
    if input.shape != other.shape:
        return False
    return (input == other).all().item()


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """A truth value that the data decide."""
    return input.isclose(other, rtol, atol, equal_nan).all().item()


def one_hot(tensor: Tensor, num_classes: Any = -1) -> Tensor:
    """The number of classes is a symbol where it is not given."""
    import torch

    if num_classes != -1 or tensor.numel() == 0:
        return torch.nn.functional.one_hot(tensor, num_classes)
    classes = tensor.max().item() + 1
    torch._check(classes >= 1)
    return (tensor.unsqueeze(-1) == torch.arange(classes)).long()


def narrow(input: Tensor, dim: int, start: Any, length: Any) -> Tensor:
    """A start that is data picks its places; their number is known."""
    import torch

    if not isinstance(start, torch.Tensor):
        return torch.narrow(input, dim, start, length)
    first = torch.where(start < 0, start + input.shape[dim], start)
    return input.index_select(dim, first + torch.arange(length))


def tensor_split(input: Tensor, indices_or_sections: Any = None, dim: int = 0, **kw: Any) -> Any:
    """Places that are data cut the tensor in slices; how many is known of a vector of them."""
    import torch

    places = next(iter(kw.values())) if indices_or_sections is None else indices_or_sections
    if not isinstance(places, torch.Tensor) or places.ndim != 1:
        return torch.tensor_split(input, places, dim)
    size = input.shape[dim]
    cuts = [torch.where(p < 0, p + size, p).clamp(0, size).item() for p in places]
    parts, start = [], 0
    for end in [*cuts, size]:
        torch._check(end >= 0)
        torch._check(end <= size)
        parts.append(input.narrow(dim, start, torch.sym_max(end - start, 0)))
        start = end
    return tuple(parts)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """torch bounds the result by the size of ``input``, which may be broadcast."""
    import torch

    return torch.masked_select(*torch.broadcast_tensors(input, mask))


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """The places are constants."""
    import torch

    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = list(choose(range(int(input.shape[0])), r))
    if r == 0:
        return input.new_empty((0,))
    return input[torch.tensor(places, dtype=torch.int64).reshape(-1, r)]


# -- linear algebra -------------------------------------------------------------------------------


def lstsq(
    input: Tensor, b: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> Any:
    """An opaque op; its results have the shapes of a full rank."""
    import torch

    return torch.return_types.linalg_lstsq(torch.ops.p2m.lstsq(input, b, rcond, driver=driver))


def _fake_lstsq(a: Any, b: Any, rcond: Any = None, *, driver: Any = None) -> Any:
    import torch

    rows, columns = a.shape[-2:]
    vector = a.ndim - 1 == b.ndim and a.shape[:-1] == b.shape
    right = b.unsqueeze(-1) if vector else b
    batch = torch.broadcast_shapes(a.shape[:-2], right.shape[:-2])
    real = a.real
    solution = a.new_empty((*batch, columns, *(() if vector else right.shape[-1:])))
    residuals = rank = singular = real.new_empty((0,))
    rank = rank.long() if driver == "gels" else a.new_empty(a.shape[:-2], dtype=torch.int64)
    if rows > columns and driver in ("gels", "gelsd", "gelss"):
        residuals = real.new_empty((*batch, right.shape[-1]))
    if driver in ("gelsd", "gelss"):
        singular = real.new_empty((*a.shape[:-2], min(rows, columns)))
    return solution, residuals, rank, singular


# -- losses ---------------------------------------------------------------------------------------


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = 0,  # torch's Python binding does not reduce unless told
    zero_infinity: bool = False,
) -> Tensor:
    """An opaque op, always batched."""
    import torch

    if single := log_probs.ndim == 2:
        log_probs, targets = log_probs.unsqueeze(1), targets.reshape(1, -1)
    lengths = (input_lengths, target_lengths)
    overload = torch.ops.p2m.ctc_loss.IntList
    if isinstance(input_lengths, torch.Tensor):
        overload = torch.ops.p2m.ctc_loss.Tensor
        lengths = tuple(n.reshape(-1) for n in lengths)
    out = overload(log_probs, targets, *lengths, blank, reduction, zero_infinity)
    return out.squeeze(0) if single and reduction == 0 else out


def functional_ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """The same with the reduction by name."""
    kind = _REDUCTIONS.index(reduction)
    return ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, kind, zero_infinity)


def _fake_ctc_loss(log_probs: Any, targets: Any, inputs: Any, labels: Any, *rest: Any) -> Any:
    return log_probs.new_empty(() if rest[1] else (log_probs.shape[1],))


@cache
def _register() -> Any:
    """Adds to the ``p2m`` library once a process; the library returned must stay alive."""
    import torch

    library = torch.library.Library("p2m", "FRAGMENT")
    rest = "int blank, int reduction, bool zero_infinity"
    for overload, kind in (("Tensor", "Tensor"), ("IntList", "SymInt[]")):
        library.define(
            f"ctc_loss.{overload}(Tensor log_probs, Tensor targets, {kind} input_lengths, "
            f"{kind} target_lengths, {rest}) -> Tensor"
        )
        kernel = getattr(torch.ops.aten.ctc_loss, overload)
        library.impl(f"ctc_loss.{overload}", kernel, "CompositeExplicitAutograd")
        torch.library.register_fake(f"p2m::ctc_loss.{overload}", _fake_ctc_loss, lib=library)
    results = "(Tensor, Tensor, Tensor, Tensor)"
    library.define(f"lstsq(Tensor a, Tensor b, float? rcond, *, str? driver) -> {results}")
    library.impl("lstsq", torch.ops.aten.linalg_lstsq.default, "CompositeExplicitAutograd")
    torch.library.register_fake("p2m::lstsq", _fake_lstsq, lib=library)
    return library


# -- the table ------------------------------------------------------------------------------------


@cache
def table() -> dict[Any, Standin]:
    """torch's functions and methods to what stands in for them."""
    import torch

    found: dict[Any, Standin] = {
        torch.nn.functional.one_hot: one_hot,
        torch.ctc_loss: ctc_loss,
        torch.nn.functional.ctc_loss: functional_ctc_loss,
        torch.linalg.lstsq: lstsq,
        torch.combinations: combinations,
    }
    for standin in (cov, corrcoef, equal, allclose, narrow, tensor_split, masked_select):
        for home in (torch, torch.Tensor):
            found[getattr(home, standin.__name__)] = standin
    return found


@contextmanager
def masks_as_given() -> Iterator[None]:
    """Within, nn.Transformer does not look whether a mask is the causal one: it uses the mask.

    A causal mask is recognised later, in the graph.
    """
    from torch.nn.modules import transformer

    look = transformer._detect_is_causal_mask

    def detect(mask: Any, is_causal: bool | None = None, size: Any = None) -> bool:
        return is_causal is True

    transformer._detect_is_causal_mask = detect
    try:
        yield
    finally:
        transformer._detect_is_causal_mask = look


@contextmanager
def traceable_forms(notes: list[str], strict: bool = False) -> Iterator[None]:
    """Within, what torch.export refuses or freezes is called in a form that it takes.

    Recurrences and masks always; functions of the table and checks of values (a note on each is
    added to ``notes``) outside of torch's strict mode, which reads the code in its own way.
    """
    from torch.overrides import TorchFunctionMode

    _register()
    forms = table()

    class Standins(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return forms.get(function, function)(*args, **(kwargs or {}))

    with ExitStack() as stack:
        stack.enter_context(opaque_recurrences())
        stack.enter_context(masks_as_given())
        if not strict:
            stack.enter_context(passing_checks(notes))
            stack.enter_context(Standins())
        yield
