"""The same networks as people wrote them for MLX, with the source's weights."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import mlx.core as mx
import mlx.nn as nn
from torch import nn as torch_nn

from pytorch_to_mlx.package import arrays


class Unavailable(RuntimeError):
    """The package that holds the hand-written module is not installed."""


def _submodule(package: str, name: str) -> ModuleType:
    """A module of ``package`` without what the package's own ``__init__`` pulls in.

    mlx-lm and mlx-whisper import servers, downloads and numba there; the model files need none.
    """
    if package not in sys.modules:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise Unavailable(f"{package} is not installed")
        bare = ModuleType(package)
        bare.__path__ = list(spec.submodule_search_locations)
        sys.modules[package] = bare
    try:
        return import_module(f"{package}.{name}")
    except ImportError as error:
        raise Unavailable(f"{package}.{name}: {error}") from error


def llama(source: torch_nn.Module) -> nn.Module:
    """mlx-lm's Llama."""
    written = _submodule("mlx_lm", "models.llama")
    config = source.config.to_dict()
    rope = config["rope_parameters"]
    config |= {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {k: v for k, v in rope.items() if k != "rope_theta"},
    }
    model = written.Model(written.ModelArgs.from_dict(config))
    weights = {n: arrays.from_torch(t.cpu()) for n, t in source.state_dict().items()}
    model.load_weights(list(model.sanitize(weights).items()), strict=True)
    return model.eval()


class _Encoder(nn.Module):
    """mlx-whisper's encoder with features as the source takes them: [B, mels, frames]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def __call__(self, features: mx.array) -> mx.array:
        return self.encoder(features.transpose(0, 2, 1))


_WHISPER = {
    "layers": "blocks",
    "self_attn_layer_norm": "attn_ln",
    "self_attn": "attn",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "out",
    "fc1": "mlp1",
    "fc2": "mlp2",
    "final_layer_norm": "mlp_ln",
    "layer_norm": "ln_post",
}


def whisper_encoder(source: torch_nn.Module) -> nn.Module:
    """mlx-whisper's encoder."""
    written = _submodule("mlx_whisper", "whisper")
    c = source.config
    weights = {}
    for name, tensor in source.state_dict().items():
        array = arrays.from_torch(tensor.cpu())
        renamed = ".".join(_WHISPER.get(part, part) for part in name.split("."))
        weights[renamed] = array.transpose(0, 2, 1) if array.ndim == 3 else array
    positions = weights.pop("embed_positions.weight")
    encoder = written.AudioEncoder(
        c.num_mel_bins,
        c.max_source_positions,
        c.d_model,
        c.encoder_attention_heads,
        c.encoder_layers,
        dtype=positions.dtype,
    )
    encoder._positional_embedding = positions
    encoder.load_weights(list(weights.items()), strict=True)
    return _Encoder(encoder.eval()).eval()


WRITTEN: dict[str, Callable[[torch_nn.Module], nn.Module]] = {
    "llama": llama,
    "whisper_encoder": whisper_encoder,
}
