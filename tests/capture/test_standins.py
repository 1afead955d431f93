"""Functions that look at values, and checks of values: converted, and run on other values."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pytorch_to_mlx.capture.export import capture_module
from pytorch_to_mlx.capture.standins import table
from pytorch_to_mlx.errors import CaptureError
from tests.conformance.compare import check_values
from tests.conformance.convert import convert, flat
from tests.lower.harness import Wrapped

X, Y = torch.randn(4, 6), torch.randn(4, 6)
COUNTS, WEIGHTS = torch.tensor([1, 3, 2, 1, 1, 2]), torch.rand(6) + 0.1
LABELS = torch.tensor([2, 0, 1, 2])
TARGETS, LENGTHS = torch.tensor([[1, 2, 2], [3, 1, 0]]), torch.tensor([3, 2])


class Module(Wrapped):
    """Of two inputs, named as the emitted code needs it."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return self.fn(x, y)


def same(fn: Callable[..., Any], traced: tuple[Any, Any], *others: tuple[Any, Any]) -> None:
    """The emitted code gives what torch gives, for the traced values and for others."""
    emitted = convert(Module(fn).eval(), traced)
    for given in (traced, *others):
        check_values(flat(fn(*given)), emitted(*given))


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, y: (torch.cov(x), x.cov(correction=0), torch.cov(x[0])),
        lambda x, y: torch.cov(x, correction=2, fweights=COUNTS, aweights=WEIGHTS),
        lambda x, y: torch.cov(torch.complex(x, y), aweights=WEIGHTS),
        lambda x, y: (
            x.long().cov(),
            torch.corrcoef(x),
            torch.corrcoef(x[0]),
            torch.complex(x, y).corrcoef(),
        ),
        lambda x, y: (torch.combinations(x[0]), torch.combinations(y[1, :3], 3, True)),
        lambda x, y: F.gaussian_nll_loss(x, y, x.exp(), full=True, reduction="none"),
        lambda x, y: F.ctc_loss(
            torch.stack([x, y], 1).log_softmax(-1), TARGETS, (4, 4), (3, 2), reduction="none"
        ),
        lambda x, y: torch.ctc_loss(x.log_softmax(-1), TARGETS[0], torch.tensor(4), LENGTHS[0]),
        lambda x, y: tuple(torch.linalg.lstsq(x[:, :3], y)),
        lambda x, y: torch.linalg.lstsq(x.mT, y[:, 0].new_ones(6), driver="gels"),
        lambda x, y: torch.linalg.lstsq(x[:, :2], y[:, 0]).solution,
    ],
)
def test_values_that_torch_looks_at(fn: Callable[..., Any]) -> None:
    same(fn, (X, Y), (torch.randn(4, 6), torch.randn(4, 6)))


@pytest.mark.parametrize(
    "fn, cases",
    [
        (
            # The op's own argument: with it, one of the cases is close and not equal.
            lambda x, y: (torch.equal(x, y), x.allclose(y, atol=0.1)),
            [(X, X), (X, Y), (X, X + 1e-3)],
        ),
        (lambda x, y: F.one_hot(y), [(X, LABELS), (X, LABELS * 3)]),
        (lambda x, y: x.narrow(1, y, 2), [(X, torch.tensor(1)), (X, torch.tensor(-3))]),
        (
            lambda x, y: torch.tensor_split(x, y, dim=1),
            [(X, torch.tensor([1, 4])), (X, torch.tensor([-2, 9])), (X, torch.tensor([4, 1]))],
        ),
        (lambda x, y: torch.masked_select(x[0], y > 0), [(X, Y), (X, -Y.abs())]),
    ],
)
def test_results_that_the_data_decide(fn: Callable[..., Any], cases: list[Any]) -> None:
    same(fn, *cases)


def test_every_stand_in_takes_the_place_of_a_function() -> None:
    assert all(callable(f) and callable(s) for f, s in table().items())


def checked(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Checks of every form; none changes what is computed."""
    if torch.isnan(x).any() or not torch.isfinite(y).all():
        raise ValueError("not finite")
    assert x.max() < 100, "too large"
    assert y.abs().sum().item() < 1e6
    if (x > 50).any():
        warnings.warn("large", stacklevel=2)
    if (x < 60).all():
        out = torch.distributions.Normal(x, 1 + y.abs()).log_prob(y)
    else:
        raise ValueError("too large")
    return out


def test_checks_of_values_pass_and_are_named() -> None:
    before = torch.SymBool.__bool__
    same(checked, (X, Y), (Y, X))
    notes = capture_module(Module(checked).eval(), (X, Y), dynamic_shapes=None).warnings
    first = checked.__code__.co_firstlineno
    for line in (2, 4, 5, 6, 8):
        assert any(f"test_standins.py:{first + line} " in n for n in notes), (line, notes)
    assert "__bool__" not in vars(torch.Tensor)
    assert torch.SymBool.__bool__ is before


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, y: x if (x > 0).any() else y,
        lambda x, y: x + 1 if x.sum() > y.sum() else x,
    ],
)
def test_other_questions_are_refused(fn: Callable[..., Any]) -> None:
    with pytest.raises(CaptureError, match="branch on the values"):
        capture_module(Module(fn).eval(), (X, Y), dynamic_shapes=None)


class Masked(torch.nn.Module):
    """A decoder of torch's own, with a causal mask made inside and one that is given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = torch.nn.TransformerDecoderLayer(6, 2, 8, batch_first=True)
        self.decoder = torch.nn.TransformerDecoder(layer, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        causal = torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.decoder(x, x, tgt_mask=causal, memory_mask=y)


def test_masks_of_torch_transformers() -> None:
    module = Masked().eval()
    x, y = torch.randn(2, 4, 6), torch.randn(4, 4) > 1
    emitted = convert(module, (x, y))
    assert 'mask="causal"' in emitted.code.text
    for mask in (y, y.flip(0)):
        with torch.no_grad():
            check_values([module(x, mask)], emitted(x, mask), 1e-5)
