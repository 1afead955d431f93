"""Models that remember: the same outputs over calls in a row, from the same start after loading."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from tests.api.helpers import call, proven


class RunningMean(nn.Module):
    """Counts its calls and keeps a running mean, in buffers."""

    mean: torch.Tensor
    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        self.mean.lerp_(x.mean(0), 0.25)
        return (x - self.mean) * self.count


class Slots(nn.Module):
    """Writes each input into the next place of a ring, as key-value caches do."""

    ring: torch.Tensor
    place: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ring", torch.zeros(4, 3))
        self.register_buffer("place", torch.zeros(1, dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.ring.index_copy_(0, self.place, x[:1])
        self.place.copy_((self.place + 1) % 4)
        return self.ring * 2 + x.sum()


class Leaky(nn.Module):
    """State in a plain attribute, which is in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.h = torch.zeros(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.h = torch.tanh(self.linear(x) + 0.5 * self.h)
        return self.h


class Nested(nn.Module):
    """Two stateful children of one class, each with a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = RunningMean()
        self.second = RunningMean()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x) * 2)


def draws(count: int = 3) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 3) for _ in range(count)]


def test_mutated_buffers(tmp_path: Path) -> None:
    loaded = proven(tmp_path, RunningMean(), *map(call, draws()))
    assert loaded.config["states"]


def test_a_batch_of_another_size_goes_on_from_the_same_state(tmp_path: Path) -> None:
    a, b, c = draws()
    proven(tmp_path, RunningMean(), call(a), call(b[:1]), call(torch.cat([c, a, b])))


def test_indexed_writes(tmp_path: Path) -> None:
    proven(tmp_path, Slots(), *map(call, draws(6)))


def test_plain_attribute(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Leaky()
    before = module.h
    proven(tmp_path, module, *map(call, draws()), dynamic_shapes=None, reference=twin(module))
    assert module.h is before


def test_two_states_of_one_class(tmp_path: Path) -> None:
    proven(tmp_path, Nested(), *map(call, draws()))


def test_the_source_keeps_its_state(tmp_path: Path) -> None:
    module = RunningMean()
    proven(tmp_path, module, *map(call, draws()), reference=RunningMean())
    assert int(module.count) == 0
    assert torch.equal(module.mean, torch.zeros(3))


def twin(module: Leaky) -> Leaky:
    other = Leaky()
    other.load_state_dict(module.state_dict())
    return other
