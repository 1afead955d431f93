"""The models whose emitted code is committed: how they are built, what must stay dynamic.

Weights are drawn anew from seeded normals, those that a library starts at zero or one included, so
that no branch is hidden and attention is far from uniform.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import nn

from tests.golden import networks

Sizes = dict[str, int]
Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Golden:
    """A model with its example sizes, the sizes to try, and the dims that may not be frozen.

    ``inputs(**sizes)`` draws forward's keyword arguments. ``dynamic`` names dims as ``input:axis``:
    exactly those must be symbols in ``config.json``; those in ``optional`` may be. ``ragged`` are
    other sizes; each dynamic dim takes at least two values besides the example's, 1 among them
    where the source itself allows it (``smallest`` says where it does not).
    """

    build: Callable[[], nn.Module]
    inputs: Callable[..., Inputs]
    sizes: Sizes
    ragged: tuple[Sizes, ...]
    dynamic: frozenset[str]
    optional: frozenset[str] = frozenset()
    smallest: Sizes = field(default_factory=dict)
    tolerance: float = 1e-4

    def module(self) -> nn.Module:
        """The model with seeded weights, in eval mode."""
        torch.manual_seed(0)
        return randomised(self.build())

    def example(self, sizes: Sizes | None = None, seed: int = 1) -> Inputs:
        """Inputs of the given sizes (the example's by default)."""
        torch.manual_seed(seed)
        return self.inputs(**(sizes or self.sizes))


def randomised(module: nn.Module) -> nn.Module:
    """Every weight and statistic drawn from a seeded normal of a sound scale; eval mode."""
    generator = torch.Generator().manual_seed(0)

    def normal(tensor: torch.Tensor) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator)

    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.copy_(normal(parameter) / math.sqrt(parameter[0].numel()))
            else:
                centre = 1.0 if bool((parameter == 1).all()) else 0.0
                parameter.copy_(centre + 0.2 * normal(parameter))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.2 * normal(buffer))
            elif name.endswith("running_var"):
                buffer.copy_(1.0 + 0.5 * normal(buffer).tanh())
    return module.eval()


def made(model: str, config: str, **options: Any) -> Callable[[], nn.Module]:
    """A builder of a transformers model."""

    def build() -> nn.Module:
        return getattr(transformers, model)(getattr(transformers, config)(**options))

    return build


VOCABULARY = 50
DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
    "use_cache": False,
}


def tokens(batch: int, length: int) -> torch.Tensor:
    return torch.randint(3, VOCABULARY, (batch, length))


def only_ids(batch: int, length: int) -> Inputs:
    return {"input_ids": tokens(batch, length)}


def padded_ids(batch: int, length: int) -> Inputs:
    """Token ids with a mask: row ``i`` ends in ``i`` padded places (its first is never masked)."""
    mask = torch.ones(batch, length, dtype=torch.int64)
    for i in range(batch):
        mask[i, max(1, length - i) :] = 0
    return {"input_ids": tokens(batch, length), "attention_mask": mask}


def image(batch: int, height: int, width: int) -> Inputs:
    return {"pixel_values": torch.randn(batch, 3, height, width)}


def grid(*rows: tuple[int, ...], names: str = "batch length") -> tuple[Sizes, ...]:
    return tuple(dict(zip(names.split(), row, strict=True)) for row in rows)


TEXT_SIZES = grid((1, 1), (2, 1), (1, 7), (3, 19))
TEXT_DIMS = frozenset({"input_ids:0", "input_ids:1"})
TEXT: dict[str, Any] = {
    "inputs": only_ids,
    "sizes": {"batch": 2, "length": 11},
    "ragged": TEXT_SIZES,
    "dynamic": TEXT_DIMS,
}
IMAGE_DIMS = frozenset({"pixel_values:0", "pixel_values:2", "pixel_values:3"})

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def whisper_inputs(batch: int, length: int) -> Inputs:
    ids = tokens(batch, length)
    return {"input_features": torch.randn(batch, 8, 40), "decoder_input_ids": ids}


def t5_inputs(batch: int, source: int, length: int) -> Inputs:
    return {"input_ids": tokens(batch, source), "decoder_input_ids": tokens(batch, length)}


MODELS: dict[str, Golden] = {
    "llama": Golden(made("LlamaForCausalLM", "LlamaConfig", **DECODER), **TEXT),
    "llama3_rope": Golden(
        made("LlamaForCausalLM", "LlamaConfig", **DECODER, rope_parameters=LLAMA3_ROPE), **TEXT
    ),
    "mistral": Golden(
        made("MistralForCausalLM", "MistralConfig", **DECODER, sliding_window=5), **TEXT
    ),
    "mixtral": Golden(
        made(
            "MixtralForCausalLM",
            "MixtralConfig",
            **DECODER,
            num_local_experts=4,
            num_experts_per_tok=2,
        ),
        **TEXT,
    ),
    "gpt2": Golden(
        made(
            "GPT2LMHeadModel",
            "GPT2Config",
            n_embd=32,
            n_layer=3,
            n_head=4,
            n_positions=64,
            vocab_size=VOCABULARY,
            bos_token_id=1,
            eos_token_id=2,
            use_cache=False,
        ),
        **TEXT,
    ),
    "bert": Golden(
        made(
            "BertModel",
            "BertConfig",
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            vocab_size=VOCABULARY,
            max_position_embeddings=64,
        ),
        inputs=padded_ids,
        sizes={"batch": 3, "length": 11},
        ragged=TEXT_SIZES,
        dynamic=TEXT_DIMS | {"attention_mask:0", "attention_mask:1"},
    ),
    "vit": Golden(
        made(
            "ViTForImageClassification",
            "ViTConfig",
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=24,
            patch_size=8,
            num_labels=6,
        ),
        inputs=lambda batch: image(batch, 24, 24),
        sizes={"batch": 2},
        ragged=grid((1,), (5,), names="batch"),
        dynamic=frozenset({"pixel_values:0"}),
    ),
    "resnet": Golden(
        made(
            "ResNetForImageClassification",
            "ResNetConfig",
            embedding_size=8,
            hidden_sizes=[16, 32, 40],
            depths=[2, 2, 1],
            layer_type="bottleneck",
            num_labels=6,
        ),
        inputs=image,
        sizes={"batch": 2, "height": 40, "width": 56},
        ragged=grid((1, 32, 32), (3, 1, 45), (1, 57, 1), names="batch height width"),
        dynamic=IMAGE_DIMS,
    ),
    "convnext": Golden(
        made(
            "ConvNextForImageClassification",
            "ConvNextConfig",
            hidden_sizes=[8, 16, 24],
            depths=[2, 2, 1],
            num_stages=3,
            num_labels=6,
        ),
        inputs=image,
        sizes={"batch": 2, "height": 48, "width": 64},
        ragged=grid((1, 32, 33), (3, 51, 16), (1, 16, 47), names="batch height width"),
        dynamic=IMAGE_DIMS,
        smallest={"height": 16, "width": 16},
    ),
    "unet": Golden(
        networks.UNet,
        inputs=lambda batch, height, width: {"image": torch.randn(batch, 3, height, width)},
        sizes={"batch": 2, "height": 16, "width": 24},
        ragged=grid((1, 4, 20), (3, 12, 4), names="batch height width"),
        dynamic=frozenset({"image:0", "image:2", "image:3"}),
        smallest={"height": 4, "width": 4},
    ),
    "whisper": Golden(
        made(
            "WhisperForConditionalGeneration",
            "WhisperConfig",
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            vocab_size=VOCABULARY,
            num_mel_bins=8,
            max_source_positions=20,
            max_target_positions=30,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            use_cache=False,
        ),
        inputs=whisper_inputs,
        sizes={"batch": 2, "length": 11},
        ragged=TEXT_SIZES,
        dynamic=frozenset({"input_features:0", "decoder_input_ids:0", "decoder_input_ids:1"}),
    ),
    "t5": Golden(
        made(
            "T5ForConditionalGeneration",
            "T5Config",
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=4,
            vocab_size=VOCABULARY,
            decoder_start_token_id=0,
            use_cache=False,
        ),
        inputs=t5_inputs,
        sizes={"batch": 2, "source": 11, "length": 7},
        ragged=grid((1, 1, 1), (2, 45, 1), (3, 1, 30), (1, 6, 6), names="batch source length"),
        dynamic=TEXT_DIMS | {"decoder_input_ids:0", "decoder_input_ids:1"},
    ),
    "tagger": Golden(
        networks.Tagger,
        inputs=lambda batch, length: {"tokens": tokens(batch, length)},
        sizes={"batch": 2, "length": 11},
        ragged=TEXT_SIZES,
        dynamic=frozenset({"tokens:0", "tokens:1"}),
    ),
    "crepe": Golden(
        networks.Pitch,
        inputs=lambda batch: {"frames": torch.randn(batch, 1024)},
        sizes={"batch": 2},
        ragged=grid((1,), (5,), names="batch"),
        dynamic=frozenset({"frames:0"}),
        optional=frozenset({"frames:1"}),
    ),
}
