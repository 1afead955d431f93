"""Recurrent stacks become layers: the emitted code against torch, at other lengths and compiled."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as mlx_nn
import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.package.arrays import from_torch
from pytorch_to_mlx.package.run import import_model
from tests.conformance.convert import convert
from tests.golden.compare import run_torch
from tests.package.processes import NOT_NEEDED
from tests.package.test_convert_weights import checkpoint, run_script, same_weights

NETWORKS: dict[str, Any] = {
    "lstm": lambda: nn.LSTM(4, 6),
    "lstm batch first": lambda: nn.LSTM(4, 6, batch_first=True),
    "lstm stacked": lambda: nn.LSTM(4, 6, num_layers=3),
    "lstm both ways, stacked": lambda: nn.LSTM(4, 6, num_layers=2, bidirectional=True),
    "lstm without bias": lambda: nn.LSTM(4, 6, bias=False, bidirectional=True),
    "lstm projected": lambda: nn.LSTM(4, 6, proj_size=3),
    "lstm projected, both ways, stacked": lambda: nn.LSTM(
        4, 6, num_layers=2, proj_size=3, bidirectional=True
    ),
    "gru": lambda: nn.GRU(4, 6, batch_first=True),
    "gru both ways, stacked": lambda: nn.GRU(4, 6, num_layers=2, bidirectional=True),
    "gru without bias": lambda: nn.GRU(4, 6, bias=False),
    "rnn": lambda: nn.RNN(4, 6, bidirectional=True),
    "rnn relu, stacked": lambda: nn.RNN(4, 6, num_layers=2, nonlinearity="relu"),
    "rnn without bias": lambda: nn.RNN(4, 6, bias=False),
}


def flat(out: Any) -> list[torch.Tensor]:
    return [out] if isinstance(out, torch.Tensor) else [t for o in out for t in flat(o)]


def close(got: list[Any], want: list[torch.Tensor], tolerance: float = 2e-6) -> None:
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert tuple(g.shape) == tuple(w.shape)
        assert mx.abs(g - from_torch(w)).max().item() < tolerance


def steps(network: nn.Module, length: int) -> torch.Tensor:
    first = (3, length) if getattr(network, "batch_first", False) else (length, 3)
    return torch.randn(*first, 4)


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("name", NETWORKS)
def test_emitted(name: str, given: bool) -> None:
    """Every output and final state, from zero and from given states."""
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    x = steps(network, 5)
    inputs: tuple[torch.Tensor, ...] = (x,)
    with torch.inference_mode():
        if given:
            _, state = network(x)
            states = [torch.randn_like(s) for s in flat(state)]
            module: nn.Module = (_Given, _GivenTwo)[len(states) - 1](network)
            inputs = (x, *states)
        else:
            module = network
        want = flat(module(*inputs))
    emitted = convert(module, tuple(t.clone() for t in inputs))
    assert "Layer(" in emitted.code.text
    assert "nn.LSTM" not in emitted.code.text
    close(emitted(*inputs), want)


class _Given(nn.Module):
    """A network from a given state."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> Any:
        return self.network(x, h)


class _GivenTwo(_Given):
    """An LSTM from given states."""

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Any:  # type: ignore[override]
        return self.network(x, (h, c))


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("name", ["lstm both ways, stacked", "gru", "gru without bias", "rnn"])
def test_short_sequences_keep_the_layers_of_nn(name: str, length: int) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    x = steps(network, length)
    emitted = convert(network, (x,))
    gated = not isinstance(network, nn.RNN)
    assert ("Layer(" not in emitted.code.text) == (gated and length <= 2)
    with torch.inference_mode():
        close(emitted(x), flat(network(x)))


class Net(nn.Module):
    """Two stacks in one module beside a child that has their name."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.LSTMLayer = nn.Linear(4, 4)
        self.encoder = nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.decoder = nn.GRU(10, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        y, (h, _) = self.encoder(self.LSTMLayer(x))
        z, _ = self.decoder(y)
        return z, h


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def package(net: nn.Module, tmp_path_factory: Any) -> Any:
    auto = torch.export.Dim.AUTO
    folder = tmp_path_factory.mktemp("recurrent") / "net"
    p2m.convert(
        net, (torch.randn(3, 6, 4),), dynamic_shapes={"x": {0: auto, 1: auto}}, output=folder
    )
    return folder


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_any_length(net: nn.Module, package: Any, compiled: bool) -> None:
    """Other batches and lengths, a single step among them, also with the whole model compiled."""
    model = import_model(package).load(package)
    function = mx.compile(model) if compiled else model
    for batch, length in ((3, 6), (1, 1), (2, 9), (1, 2)):
        x = torch.randn(batch, length, 4)
        close(list(function(from_torch(x))), flat(run_torch(net, x)))


def test_another_checkpoint(net: nn.Module, package: Any, tmp_path: Any) -> None:
    """The script joins the directions' weights as the conversion did, under readable names."""
    names = set(mx.load(str(package / "model.safetensors")))
    assert {"encoder.layers.0.Wx", "encoder.layers.1.Wh", "decoder.Wx", "decoder.bh"} <= names
    torch.manual_seed(7)
    tuned = Net().eval()
    file = checkpoint(tuned, tmp_path / "tuned.safetensors")
    done = run_script(package, file, tmp_path / "w", plugins=tmp_path / "env", blocked=NOT_NEEDED)
    assert done.returncode == 0, done.stderr
    fresh = p2m.convert(tuned, (torch.randn(3, 6, 4),), dynamic_shapes=None)
    same_weights(tmp_path / "w" / "model.safetensors", fresh.path / "model.safetensors")


class BidirectionalClash(nn.Module):
    """Modules with the names of the library's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = LSTMLayer()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.inner(x))


class LSTMLayer(nn.Module):
    """What people call a recurrent block."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 6, bidirectional=True, batch_first=True)
        self.out = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(x)[0])


def test_a_class_with_the_name_of_a_layer() -> None:
    torch.manual_seed(0)
    module = BidirectionalClash().eval()
    x = torch.randn(2, 5, 4)
    emitted = convert(module, (x,))
    assert emitted.code.text.count("class LSTMLayer(") == 1
    close(emitted(x), [run_torch(module, x)])


def test_gradients_flow(package: Any) -> None:
    """The compiled cells do not stand in the way of a fine-tune."""
    model = import_model(package).load(package)
    x = mx.random.normal((2, 4, 4))
    loss, grads = mlx_nn.value_and_grad(model, lambda x: model(x)[0].square().mean())(x)
    assert mx.isfinite(loss).item()
    assert mx.abs(grads["encoder"]["layers"][0]["Wh"]).max().item() > 0
