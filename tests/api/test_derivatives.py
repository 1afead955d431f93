"""Models that take a derivative inside forward."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import grad, hessian, jacfwd, jacrev, vmap

from tests.api.helpers import call, proven

Of = Callable[[torch.Tensor], torch.Tensor]


def by_autograd(f: Of, x: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        return torch.autograd.grad(f(x).sum(), x)[0]


KINDS: dict[str, Callable[[Of, torch.Tensor], torch.Tensor]] = {
    "autograd": by_autograd,
    "grad": lambda f, x: grad(lambda v: f(v).sum())(x),
    "jacrev a row": lambda f, x: vmap(jacrev(f))(x),
    "jacfwd": lambda f, x: jacfwd(f)(x[0]),
    "hessian": lambda f, x: hessian(lambda v: f(v).sum())(x[0]),
}


class Differentiated(nn.Module):
    """A layer and a derivative of a function of it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.project, self.derive = nn.Linear(3, 3), KINDS[kind]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.derive(lambda v: torch.tanh(self.project(v)), x)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_what_they_compute(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    calls = [call(torch.randn(n, 3)) for n in (2, 5)]
    proven(tmp_path, Differentiated(kind).eval(), *calls)
