"""T5ForConditionalGeneration in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


class T5Attention(nn.Module):
    """T5Attention (modeling_t5.py:176)."""

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(32, 32, bias=False)
        self.k = nn.Linear(32, 32, bias=False)
        self.v = nn.Linear(32, 32, bias=False)
        self.o = nn.Linear(32, 32, bias=False)

    def __call__(
        self, x: mx.array, key_value: mx.array | None = None, position_bias: mx.array | None = None
    ) -> mx.array:
        if key_value is None:
            key_value = x
        B, T, _ = x.shape
        S = key_value.shape[1]
        out = mx.fast.scaled_dot_product_attention(
            self.q(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            self.k(key_value).reshape(B, S, -1, 8).transpose(0, 2, 1, 3),
            self.v(key_value).reshape(B, S, -1, 8).transpose(0, 2, 1, 3),
            scale=1.0,
            mask=position_bias,
        )
        return self.o(out.transpose(0, 2, 1, 3).reshape(B, T, -1))


class T5DenseActDense(nn.Module):
    """T5DenseActDense (modeling_t5.py:75)."""

    def __init__(self):
        super().__init__()
        self.wi = nn.Linear(32, 48, bias=False)
        self.wo = nn.Linear(48, 32, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.wo(nn.relu(self.wi(x)))


class T5LayerSelfAttention(nn.Module):
    """T5LayerSelfAttention (modeling_t5.py:372)."""

    def __init__(self):
        super().__init__()
        self.SelfAttention = T5Attention()
        self.layer_norm = nn.RMSNorm(32, eps=1e-06)

    def __call__(self, x: mx.array, position_bias: mx.array) -> mx.array:
        return x + self.SelfAttention(self.layer_norm(x), position_bias=position_bias)


class T5LayerFF(nn.Module):
    """T5LayerFF (modeling_t5.py:126)."""

    def __init__(self):
        super().__init__()
        self.DenseReluDense = T5DenseActDense()
        self.layer_norm = nn.RMSNorm(32, eps=1e-06)

    def __call__(self, x: mx.array) -> mx.array:
        return x + self.DenseReluDense(self.layer_norm(x))


class T5LayerCrossAttention(nn.Module):
    """T5LayerCrossAttention (modeling_t5.py:404)."""

    def __init__(self):
        super().__init__()
        self.EncDecAttention = T5Attention()
        self.layer_norm = nn.RMSNorm(32, eps=1e-06)

    def __call__(self, x: mx.array, key_value: mx.array) -> mx.array:
        return x + self.EncDecAttention(self.layer_norm(x), key_value)


class T5EncoderBlock(nn.Module):
    """T5Block (modeling_t5.py:435)."""

    def __init__(self):
        super().__init__()
        self.layer = [T5LayerSelfAttention(), T5LayerFF()]

    def __call__(self, x: mx.array, position_bias: mx.array) -> mx.array:
        x = self.layer[0](x, position_bias)
        return self.layer[1](x)


class T5DecoderBlock(nn.Module):
    """T5Block (modeling_t5.py:435)."""

    def __init__(self):
        super().__init__()
        self.layer = [T5LayerSelfAttention(), T5LayerCrossAttention(), T5LayerFF()]

    def __call__(self, x: mx.array, mask: mx.array, encoder_hidden: mx.array) -> mx.array:
        x = self.layer[0](x, mask)
        x = self.layer[1](x, encoder_hidden)
        return self.layer[2](x)


class T5EncoderStack(nn.Module):
    """T5Stack (modeling_t5.py:640)."""

    def __init__(self):
        super().__init__()
        self.block = [T5EncoderBlock() for _ in range(2)]
        self.final_layer_norm = nn.RMSNorm(32, eps=1e-06)
        self.relative_attention_bias = nn.Embedding(32, 4)

    def __call__(self, x: mx.array) -> mx.array:
        T = x.shape[1]
        positions = mx.arange(T)
        positions = positions[None] - positions[:, None]
        h = mx.abs(positions)
        y = (mx.log(h.astype(mx.float32) / 8) / 2.772588722239781 * 8).astype(mx.int64) + 8
        relative_attention_bias = self.relative_attention_bias(
            (positions > 0).astype(mx.int64) * 16 + mx.where(h < 8, h, mx.minimum(y, 15))
        )
        position_bias = relative_attention_bias.transpose(2, 0, 1)[None]
        for layer in self.block:
            x = layer(x, position_bias)
        return self.final_layer_norm(x)


class T5DecoderStack(nn.Module):
    """T5Stack (modeling_t5.py:640)."""

    def __init__(self):
        super().__init__()
        self.block = [T5DecoderBlock() for _ in range(2)]
        self.final_layer_norm = nn.RMSNorm(32, eps=1e-06)
        self.relative_attention_bias = nn.Embedding(32, 4)

    def __call__(self, x: mx.array, encoder_hidden: mx.array) -> mx.array:
        T = x.shape[1]
        positions = mx.arange(T, dtype=mx.int64)
        positions = positions[None] - positions[:, None]
        positions = -mx.minimum(positions, mx.zeros_like(positions))
        h = (mx.log(positions.astype(mx.float32) / 16) / 2.0794415416798357 * 16).astype(mx.int64)
        position_bias = self.relative_attention_bias(
            mx.where(positions < 16, positions, mx.minimum(h + 16, 31))
        )[:, :, None]
        h = mx.where(
            mx.tri(T, T, dtype=mx.bool_)[..., None, None], position_bias, mx.finfo(mx.float32).min
        )
        mask = h.transpose(2, 3, 0, 1)
        for layer in self.block:
            x = layer(x, mask, encoder_hidden)
        return self.final_layer_norm(x)


class T5ForConditionalGeneration(nn.Module):
    """T5ForConditionalGeneration (modeling_t5.py:898)."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Embedding(50, 32)
        self.encoder = T5EncoderStack()
        self.decoder = T5DecoderStack()

    def __call__(self, input_ids: mx.array, decoder_input_ids: mx.array) -> dict[str, mx.array]:
        """Takes and gives:
        input_ids: int64[B, T]
        decoder_input_ids: int64[B, S]
        -> float32[B, S, 50], float32[B, T, 32]
        """
        encoder_outputs = self.encoder(self.shared(input_ids))
        lm_logits = self.shared.as_linear(
            self.decoder(self.shared(decoder_input_ids), encoder_outputs) * 0.1767766952966369
        )
        return {"logits": lm_logits, "encoder_last_hidden_state": encoder_outputs}


def load(path: str | Path = Path(__file__).parent) -> T5ForConditionalGeneration:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = T5ForConditionalGeneration()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
