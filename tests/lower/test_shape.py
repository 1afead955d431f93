"""Lowerings of views, joins and splits against torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.lower.harness import check_op, targets

X = torch.arange(24.0).reshape(2, 3, 4)
M = torch.arange(12.0).reshape(3, 4)
I = torch.arange(6).reshape(2, 3)

ROWS: list[tuple[Any, tuple[torch.Tensor, ...]]] = [
    (lambda x: x.view(x.shape[0], -1), (X,)),
    (lambda x: x.reshape(-1, 4), (X,)),
    (lambda x: x.reshape(x.shape[0] * x.shape[1], 2, 2), (X,)),
    (lambda x: x.transpose(1, 2).reshape(x.shape[0], -1), (X,)),
    (lambda x: x.flatten(1), (X,)),
    (lambda x: x.flatten(), (X,)),
    (lambda x: x.unflatten(2, (2, -1)), (X,)),
    (lambda x: x.view(torch.int32), (X,)),
    (lambda x: x.to(torch.float16), (X,)),
    (lambda x: x.long(), (X - 5.5,)),
    (lambda x: x.bool(), (X,)),
    (lambda x: x.clone().detach().contiguous(), (X,)),
    (lambda x, y: x.type_as(y), (X, I)),
    (lambda x: x.unsqueeze(0).unsqueeze(-1), (X,)),
    (lambda x: x.unsqueeze(1).squeeze(1), (X,)),
    (lambda x: x[:, :1].squeeze(), (X,)),
    (lambda x: x[:, :1, :1].squeeze((1, 2)), (X,)),
    (lambda x: x.squeeze(0), (X,)),
    (lambda x: x.permute(2, 0, 1), (X,)),
    (lambda x: x.transpose(-1, 0), (X,)),
    (lambda x: x.t(), (M,)),
    (lambda x: x.mT, (X,)),
    (lambda x: x.movedim(0, -1), (X,)),
    (lambda x: torch.movedim(x, (0, 1), (1, 2)), (X,)),
    (lambda x: x[:, None].expand(-1, 5, -1, -1), (X,)),
    (lambda x: x[:1].expand(3, -1, 4), (X,)),
    (lambda x, y: x.expand_as(y), (M, X)),
    (lambda x: torch.broadcast_to(x, (2, *x.shape)), (M,)),
    (lambda x, y: torch.broadcast_tensors(x, y), (M, X)),
    (lambda x: x[:, 1:], (X,)),
    (lambda x: x[..., :2], (X,)),
    (lambda x: x[:, -2:], (X,)),
    (lambda x: x[:, :-1], (X,)),
    (lambda x: x[:, -100:100], (X,)),
    (lambda x: x[:, ::2], (X,)),
    (lambda x: x[..., 1::2], (X,)),
    (lambda x: x[:, 0], (X,)),
    (lambda x: x[:, -1], (X,)),
    (lambda x: x[..., -1], (X,)),
    (lambda x: x[1, 2, 3], (X,)),
    (lambda x: x[:, : x.shape[1] - 1], (X,)),
    (lambda x: x[: x.shape[0]], (X,)),
    (lambda x: x.narrow(1, 1, 2), (X,)),
    (lambda x: x.narrow(-1, -2, 2), (X,)),
    (lambda x: x.unbind(2), (X,)),
    (lambda x: x.split(2, dim=2), (X,)),
    (lambda x: x.split(3, dim=2), (X,)),
    (lambda x: x.split([1, 2, 1], dim=2), (X,)),
    (lambda x: x.chunk(2, dim=-1), (X,)),
    (lambda x: x.chunk(3, dim=-1), (X,)),
    (lambda x: x.tensor_split(3, dim=-1), (X,)),
    (lambda x: x.tensor_split([1, 3], dim=-1), (X,)),
    (lambda x, y: torch.cat([x, y], -1), (X, X + 1)),
    (lambda x, y: torch.cat([x, y.float(), x]), (I, I)),
    (lambda x: torch.cat([torch.zeros(0), x], 1), (X,)),
    (lambda x, y: torch.stack([x, y], 1), (X, X + 1)),
    (lambda x, y: torch.hstack([x, y]), (X, X + 1)),
    (lambda x, y: torch.vstack([x, y]), (X, X + 1)),
    (lambda x: x.repeat(1, 2, 3), (X,)),
    (lambda x: x.repeat(2, 1, 1, 2), (X,)),
    (lambda x: torch.tile(x, (2,)), (X,)),
    (lambda x: x.repeat_interleave(2, dim=1), (X,)),
    (lambda x: x.repeat_interleave(3), (X,)),
    (lambda x: x.roll(1, 1), (X,)),
    (lambda x: x.roll((1, -2), (0, 2)), (X,)),
    (lambda x: x.roll(2), (X,)),
    (lambda x: x.flip(1), (X,)),
    (lambda x: x.flip((0, -1)), (X,)),
    (lambda x: x.flip(-1), (X,)),
    (torch.fliplr, (M,)),
    (torch.flipud, (M,)),
    (lambda x: torch.rot90(x, 1, (1, 2)), (X,)),
    (lambda x: torch.ravel(x), (X,)),
    (lambda x: x.to(torch.float64).sum().float(), (X,)),
    (lambda x: torch.diagonal(x, 1, 1, 2), (X,)),
    (lambda x: torch.diag_embed(x), (M,)),
    (lambda x: torch.diag(x), (M,)),
    (lambda x: x.tril(), (X,)),
    (lambda x: x.triu(1), (X,)),
    (lambda x: x.trace(), (M,)),
    (lambda x: x.unfold(2, 2, 1), (X,)),
    (lambda x, y: torch.meshgrid(x[0], y[0], indexing="ij"), (M, M)),
    (lambda x: torch.meshgrid(x[0], indexing="ij"), (M,)),
    (lambda x: torch.linalg.vander(x, N=3), (M,)),
    (lambda x: x.as_strided((2, 2), (1, 2), 1), (M,)),
]


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_shape(row: int) -> None:
    fn, inputs = ROWS[row]
    # How many parts a split has must not hang on a size.
    names = getattr(getattr(fn, "__code__", None), "co_names", ())
    dynamic = not {"as_strided", "split", "chunk", "tensor_split", "unflatten"} & set(names)
    check_op(fn, *inputs, dynamic=dynamic)


def test_a_dimension_chunked_dynamically() -> None:
    check_op(
        lambda x: x[:, : 2 * (x.shape[1] // 2)].chunk(2, dim=1), torch.arange(12.0).reshape(2, 6)
    )


def test_what_changes_nothing_makes_no_call() -> None:
    same = lambda x: x.contiguous().to(torch.float32)[:, :100].view(x.shape).clone()  # noqa: E731
    assert targets(same, X, dynamic=False) == []
    assert targets(lambda x: x[..., :2], X) == ["getitem"]
