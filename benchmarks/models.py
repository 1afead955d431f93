"""The models that are timed: how each is built, at which sizes, in which precision.

Weights are seeded and random: what a matmul takes does not depend on its values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import nn

from benchmarks import networks

Sizes = dict[str, int]


@dataclass(frozen=True)
class Model:
    """A model to time.

    Attributes:
        title: what a reader calls it.
        dtype: of weights and floating inputs.
        build: the module, seeded by the caller.
        inputs: forward's positional arguments for given sizes.
        cases: label to sizes; the first is the one that is converted.
        output: the field of the source's output that is compared (none: it is a tensor).
        hand: name of the hand-written module in ``benchmarks.hand``, where one exists.
        flops: operations that torch's counter does not see, by sizes.
        dynamic_shapes: as for ``convert``: what stays dynamic, for one package in all cases.
    """

    title: str
    dtype: str
    build: Callable[[], nn.Module]
    inputs: Callable[..., tuple[torch.Tensor, ...]]
    cases: dict[str, Sizes]
    output: str | None = None
    hand: str | None = None
    flops: Callable[..., int] = field(default=lambda **_: 0)
    dynamic_shapes: Any = None

    def module(self, device: str) -> nn.Module:
        """The model in eval mode and its precision; each device draws other seeded weights."""
        torch.manual_seed(0)
        with torch.device(device):
            module = self.build()
        return cast(module.eval(), getattr(torch, self.dtype)).requires_grad_(False)

    def example(self, case: str) -> tuple[torch.Tensor, ...]:
        """forward's arguments for one case; floating ones in the model's precision."""
        torch.manual_seed(1)
        dtype = getattr(torch, self.dtype)
        values = self.inputs(**self.cases[case])
        return tuple(x.to(dtype) if x.is_floating_point() else x for x in values)


def cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module in a precision, as ``from_pretrained(dtype=...)`` gives it (in place).

    What is no part of a checkpoint keeps its own: ``module.to`` would round the frequencies of
    rotary embeddings too, and then position 512 is turned by a radian too much or too little.
    """
    stored = module.state_dict(keep_vars=True)
    for tensor in {id(t): t for t in stored.values()}.values():
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
    return module


def _of_transformers(model: str, config: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        kind: Any = transformers
        for part in model.split("."):
            kind = getattr(kind, part)
        return kind(getattr(transformers, config)(**options))

    return build


def _tokens(vocabulary: int) -> Callable[..., tuple[torch.Tensor, ...]]:
    return lambda batch, length: (torch.randint(0, vocabulary, (batch, length)),)


def _image(size: int) -> Callable[..., tuple[torch.Tensor, ...]]:
    return lambda batch: (torch.randn(batch, 3, size, size),)


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def llama(
    width: int,
    hidden: int,
    layers: int,
    heads: int,
    vocabulary: int,
    lengths: tuple[int, ...],
    dtype: str,
) -> Model:
    """Llama 3 with grouped queries and a tied head; forward without a cache."""
    build = _of_transformers(
        "LlamaForCausalLM",
        "LlamaConfig",
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 4,
        head_dim=width // heads,
        vocab_size=vocabulary,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_parameters=LLAMA3_ROPE,
        tie_word_embeddings=True,
        use_cache=False,
    )
    cases = {f"T={n}": {"batch": 1, "length": n} for n in lengths}
    free = {"input_ids": {1: torch.export.Dim.AUTO}}
    return Model(
        f"Llama {layers} layers, d={width}",
        dtype,
        build,
        _tokens(vocabulary),
        cases,
        output="logits",
        hand="llama",
        dynamic_shapes=free,
    )


def vit(
    name: str, width: int, layers: int, heads: int, image: int, batches: tuple[int, ...], dtype: str
) -> Model:
    """A vision transformer with 16x16 patches."""
    build = _of_transformers(
        "ViTForImageClassification",
        "ViTConfig",
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=image,
        num_labels=1000,
    )
    cases = {f"batch {n}": {"batch": n} for n in batches}
    free = {"pixel_values": {0: torch.export.Dim.AUTO}}
    return Model(name, dtype, build, _image(image), cases, output="logits", dynamic_shapes=free)


def whisper_encoder(
    width: int, layers: int, heads: int, mels: int, positions: int, dtype: str
) -> Model:
    """Whisper's encoder; at full size that of large-v3-turbo, over 30 seconds of audio."""
    names = {32: "Whisper large-v3-turbo encoder", 4: "Whisper tiny encoder"}
    build = _of_transformers(
        "models.whisper.modeling_whisper.WhisperEncoder",
        "WhisperConfig",
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        num_mel_bins=mels,
        max_source_positions=positions,
    )
    return Model(
        names.get(layers, f"Whisper encoder, {layers} layers"),
        dtype,
        build,
        lambda batch: (torch.randn(batch, mels, 2 * positions),),
        {"batch 1": {"batch": 1}},
        output="last_hidden_state",
        hand="whisper_encoder",
    )


def resnet50(batches: tuple[int, ...], image: int, dtype: str, stages: int = 4) -> Model:
    """ResNet-50."""
    build = _of_transformers(
        "ResNetForImageClassification",
        "ResNetConfig",
        embedding_size=64,
        hidden_sizes=[256, 512, 1024, 2048][:stages],
        depths=[3, 4, 6, 3][:stages],
        layer_type="bottleneck",
        num_labels=1000,
    )
    cases = {f"batch {n}": {"batch": n} for n in batches}
    return Model("ResNet-50", dtype, build, _image(image), cases, output="logits")


def crepe(width: int, batch: int, dtype: str) -> Model:
    """CREPE; 32 is the full model."""
    return Model(
        "CREPE full" if width == 32 else f"CREPE, width {width}",
        dtype,
        lambda: networks.Crepe(width),
        lambda batch: (torch.randn(batch, 1024),),
        {f"batch {batch}": {"batch": batch}},
    )


def unet(width: int, batch: int, size: int, dtype: str) -> Model:
    """U-Net."""
    return Model(
        f"U-Net, width {width}",
        dtype,
        lambda: networks.UNet(width),
        _image(size),
        {f"batch {batch}, {size}x{size}": {"batch": batch}},
    )


def tagger(width: int, hidden: int, batch: int, length: int, dtype: str) -> Model:
    """The BiLSTM tagger. torch's counter sees no LSTM: two layers, two directions."""

    def flops(batch: int, length: int) -> int:
        first = 4 * hidden * (width + hidden)
        second = 4 * hidden * (2 * hidden + hidden)
        return 2 * batch * length * 2 * (first + second)

    return Model(
        f"BiLSTM tagger, 2 x {hidden}",
        dtype,
        lambda: networks.Tagger(20_000, width, hidden),
        _tokens(20_000),
        {f"batch {batch}, T={length}": {"batch": batch, "length": length}},
        flops=flops,
    )


#: The sets of models: at published size, for a small CPU, and one that only shows that it runs.
PRESETS: dict[str, dict[str, Callable[[], Model]]] = {
    "full": {
        "llama-1b": lambda: llama(2048, 8192, 16, 32, 128_256, (512, 1), "bfloat16"),
        "vit-l": lambda: vit("ViT-L/16", 1024, 24, 16, 224, (8, 1), "bfloat16"),
        "whisper-encoder": lambda: whisper_encoder(1280, 32, 20, 128, 1500, "float16"),
        "resnet-50": lambda: resnet50((32,), 224, "float16"),
        "crepe-full": lambda: crepe(32, 64, "float32"),
        "unet": lambda: unet(64, 4, 256, "float16"),
        "bilstm": lambda: tagger(300, 512, 16, 200, "float32"),
    },
    "cpu": {
        "llama": lambda: llama(512, 1536, 4, 8, 8192, (64, 1), "float32"),
        "whisper-encoder": lambda: whisper_encoder(384, 4, 6, 80, 1500, "float32"),
        "crepe": lambda: crepe(4, 16, "float32"),
        "unet": lambda: unet(16, 1, 128, "float32"),
        "vit-s": lambda: vit("ViT-S/16", 384, 12, 6, 224, (2,), "float32"),
        "resnet-50": lambda: resnet50((2,), 160, "float32"),
        "bilstm": lambda: tagger(128, 128, 8, 50, "float32"),
    },
    "tiny": {
        "llama-1b": lambda: llama(64, 128, 2, 8, 200, (24, 1), "bfloat16"),
        "vit-l": lambda: vit("ViT", 64, 2, 4, 32, (3, 1), "float32"),
        "whisper-encoder": lambda: whisper_encoder(64, 2, 4, 16, 20, "float32"),
        "resnet-50": lambda: resnet50((2,), 48, "float32", stages=2),
        "crepe-full": lambda: crepe(1, 3, "float32"),
        "unet": lambda: unet(4, 2, 32, "float32"),
        "bilstm": lambda: tagger(12, 16, 2, 9, "float32"),
    },
}
