"""A case: one architecture, tiny and random, with how its inputs are drawn at any sizes.

A factory makes it, and the decorator files it under the factory's name::

    @architecture("text")
    def bert() -> Case:
        module = made("BertModel", "BertConfig", **ENCODER)
        return Case(module, padded_ids, {"batch": 3, "length": 11})

Nothing is fetched: models are built from their configuration classes. Which dimensions must come
out dynamic follows from ``inputs``: every axis whose length follows one of ``sizes``. An axis that
follows none must be named in ``fixed`` with the reason.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import nn

KINDS = ("text", "vision", "audio", "multimodal", "experts")
FURTHER = ("dense", "codecs", "decoders", "hybrids")  # modules besides those named for a kind
Sizes = Mapping[str, int]
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A model and its inputs.

    Attributes:
        module: the model, built from its configuration; the decorator draws its weights.
        inputs: forward's keyword arguments, drawn at the sizes that it is given by name; torch's
            generator is seeded before each call, and no two calls get the same seed.
        sizes: the example's sizes, each of them above 1 and no two of them equal.
        others: further sizes to try of a name, where the usual ones mean nothing to the model (a
            height that must be a multiple of the patch, say).
        fixed: ``"input:axis"`` and the reason, for every axis that follows none of ``sizes``.
        limited: names of ``sizes`` at some of which the model's code takes another way, and why:
            the package may refuse these (with its ``InputError``), but not all other sizes.
        options: arguments of forward that are no tensors; also given to the original.
        tolerance: the largest error as a share of an output's scale.
        gain: of the weights of convolutions; in deep stacks of them with activations that cut off
            half, the inputs fade away with 1.
    """

    module: nn.Module
    inputs: Callable[..., Inputs]
    sizes: Sizes
    others: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    limited: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-4
    gain: float = 1.0

    def draw(self, sizes: Sizes, seed: int) -> Inputs:
        """All arguments of one call."""
        torch.manual_seed(seed)
        return {**self.inputs(**sizes), **self.options}

    def tried(self, name: str) -> list[int]:
        """Other sizes of one name than the example's: 1 first."""
        size = self.sizes[name]
        return [n for n in (1, *self.others.get(name, (size + 2, 2 * size + 3))) if n != size]


@dataclass(frozen=True)
class Architecture:
    """A registered factory."""

    name: str
    kind: str
    factory: Callable[[], Case]

    def case(self) -> Case:
        """The case with every weight drawn anew; equal at every call."""
        torch.manual_seed(0)
        case = self.factory()
        randomise(case.module, case.gain)
        return case


_REGISTERED: dict[str, Architecture] = {}


def architecture(kind: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Registers a factory as an architecture of this kind, under the factory's name.

    Raises:
        ValueError: the kind is unknown or the name is taken.
    """

    def register(factory: Callable[[], Case]) -> Callable[[], Case]:
        name = factory.__name__
        if kind not in KINDS or name in _REGISTERED:
            raise ValueError(f"{name}: the kind is unknown or the name is taken")
        _REGISTERED[name] = Architecture(name, kind, factory)
        return factory

    return register


def architectures() -> dict[str, Architecture]:
    """Every registered architecture by name, in order of kinds."""
    for module in (*KINDS, *FURTHER):
        importlib.import_module(f"tests.conformance.architectures.{module}")
    found = sorted(_REGISTERED.values(), key=lambda a: (KINDS.index(a.kind), a.name))
    return {a.name: a for a in found}


def made(model: str, config: str | Any, **options: Any) -> nn.Module:
    """A transformers model of this class name; the configuration is one, or its class's name."""
    if isinstance(config, str):
        config = getattr(transformers, config)(**options)
    return getattr(transformers, model)(config)


def randomise(module: nn.Module, gain: float = 1.0) -> None:
    """Draws every weight and running statistic from a seeded normal, and puts the model in eval
    mode.

    What a library starts at zero hides a branch; what it starts at one hides a weight. So matrices
    get unit gain (convolutions the one given), and vectors spread around the value that all their
    elements have, if they have.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(tensor: torch.Tensor) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator).to(tensor.dtype)

    drawn: set[int] = set()
    with torch.no_grad():
        for owner in module.modules():
            for parameter in owner.parameters(recurse=False):
                if id(parameter) in drawn or not parameter.is_floating_point():
                    continue
                drawn.add(id(parameter))
                if parameter.ndim > 1:
                    scale = gain if _is_convolution(owner) else 1.0
                    fan_in = _fan_in(owner, parameter)
                    parameter.copy_(scale * normal(parameter) / math.sqrt(fan_in))
                elif parameter.numel():
                    first = float(parameter.reshape(-1)[0])
                    same = bool((parameter == first).all()) and math.isfinite(first)
                    parameter.copy_((first if same else 0.0) + 0.2 * normal(parameter))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.2 * normal(buffer))
            elif name.endswith("running_var"):
                buffer.copy_(1.0 + 0.5 * normal(buffer).tanh())
    module.eval()


def _fan_in(owner: nn.Module, parameter: torch.Tensor) -> int:
    """How many inputs one output of a weight sums; stacks of matrices sum along their last axis."""
    return parameter[0].numel() if _is_convolution(owner) else max(parameter.shape[-1], 1)


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.conv._ConvNd)


# -- inputs that many architectures share --------------------------------------------------------

VOCABULARY = 99


def tokens(batch: int, length: int) -> torch.Tensor:
    """Token ids, special ones (0 to 4) left out."""
    return torch.randint(5, VOCABULARY, (batch, length))


def padding(batch: int, length: int) -> torch.Tensor:
    """A mask whose row ``i`` ends in ``i`` padded places; the first place is never masked."""
    mask = torch.ones(batch, length, dtype=torch.int64)
    for row in range(batch):
        mask[row, max(1, length - row) :] = 0
    return mask


def ids(batch: int, length: int) -> Inputs:
    return {"input_ids": tokens(batch, length)}


def padded_ids(batch: int, length: int) -> Inputs:
    return {"input_ids": tokens(batch, length), "attention_mask": padding(batch, length)}


def seq2seq_ids(batch: int, source: int, length: int) -> Inputs:
    """A padded source and the target so far."""
    return {
        "input_ids": tokens(batch, source),
        "attention_mask": padding(batch, source),
        "decoder_input_ids": tokens(batch, length),
    }


def pixels(batch: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(batch, channels, height, width)
