"""WhisperForConditionalGeneration in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


class WhisperAttention(nn.Module):
    """WhisperAttention (modeling_whisper.py:242)."""

    def __init__(self, mask: str | None = None):
        super().__init__()
        self.mask = mask
        self.k_proj = nn.Linear(32, 32, bias=False)
        self.v_proj = nn.Linear(32, 32)
        self.q_proj = nn.Linear(32, 32)
        self.out_proj = nn.Linear(32, 32)

    def __call__(self, x: mx.array, key_value: mx.array | None = None) -> mx.array:
        if key_value is None:
            key_value = x
        B, T, _ = x.shape
        S = key_value.shape[1]
        out = mx.fast.scaled_dot_product_attention(
            self.q_proj(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            self.k_proj(key_value).reshape(B, S, -1, 8).transpose(0, 2, 1, 3),
            self.v_proj(key_value).reshape(B, S, -1, 8).transpose(0, 2, 1, 3),
            scale=8**-0.5,
            mask=self.mask,
        )
        return self.out_proj(out.transpose(0, 2, 1, 3).reshape(B, T, -1))


class WhisperPositionalEmbedding(nn.Module):
    """WhisperPositionalEmbedding (modeling_whisper.py:205)."""

    def __init__(self):
        super().__init__()
        self.weight = mx.zeros((30, 32))

    def __call__(self, length: int) -> mx.array:
        return self.weight[:length]


class WhisperEncoderLayer(nn.Module):
    """WhisperEncoderLayer (modeling_whisper.py:362)."""

    def __init__(self):
        super().__init__()
        self.self_attn = WhisperAttention()
        self.self_attn_layer_norm = nn.LayerNorm(32)
        self.fc1 = nn.Linear(32, 48)
        self.fc2 = nn.Linear(48, 32)
        self.final_layer_norm = nn.LayerNorm(32)

    def __call__(self, x: mx.array) -> mx.array:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        return x + self.fc2(nn.gelu(self.fc1(self.final_layer_norm(x))))


class WhisperDecoderLayer(nn.Module):
    """WhisperDecoderLayer (modeling_whisper.py:418)."""

    def __init__(self):
        super().__init__()
        self.self_attn = WhisperAttention(mask="causal")
        self.self_attn_layer_norm = nn.LayerNorm(32)
        self.encoder_attn = WhisperAttention()
        self.encoder_attn_layer_norm = nn.LayerNorm(32)
        self.fc1 = nn.Linear(32, 48)
        self.fc2 = nn.Linear(48, 32)
        self.final_layer_norm = nn.LayerNorm(32)

    def __call__(self, x: mx.array, encoder_hidden: mx.array) -> mx.array:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        x = x + self.encoder_attn(self.encoder_attn_layer_norm(x), encoder_hidden)
        return x + self.fc2(nn.gelu(self.fc1(self.final_layer_norm(x))))


class WhisperEncoder(nn.Module):
    """WhisperEncoder (modeling_whisper.py:542)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(8, 32, 3, padding=1)
        self.conv2 = nn.Conv1d(32, 32, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(20, 32)
        self.layers = [WhisperEncoderLayer() for _ in range(2)]
        self.layer_norm = nn.LayerNorm(32)

    def __call__(self, input_features: mx.array) -> mx.array:
        x = nn.gelu(self.conv2(nn.gelu(self.conv1(input_features)))) + self.embed_positions(
            mx.arange(20)
        )
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)


class WhisperDecoder(nn.Module):
    """WhisperDecoder (modeling_whisper.py:646)."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(50, 32)
        self.embed_positions = WhisperPositionalEmbedding()
        self.layers = [WhisperDecoderLayer() for _ in range(2)]
        self.layer_norm = nn.LayerNorm(32)

    def __call__(self, input_ids: mx.array, encoder_hidden: mx.array) -> mx.array:
        T = input_ids.shape[1]
        x = self.embed_tokens(input_ids) + self.embed_positions(T)
        for layer in self.layers:
            x = layer(x, encoder_hidden)
        return self.layer_norm(x)


class WhisperModel(nn.Module):
    """WhisperModel (modeling_whisper.py:826)."""

    def __init__(self):
        super().__init__()
        self.encoder = WhisperEncoder()
        self.decoder = WhisperDecoder()

    def __call__(
        self, input_features: mx.array, decoder_input_ids: mx.array
    ) -> tuple[mx.array, mx.array]:
        encoder_outputs = self.encoder(input_features)
        decoder_outputs = self.decoder(decoder_input_ids, encoder_outputs)
        return encoder_outputs, decoder_outputs


class WhisperForConditionalGeneration(nn.Module):
    """WhisperForConditionalGeneration (modeling_whisper.py:990)."""

    def __init__(self):
        super().__init__()
        self.model = WhisperModel()

    def __call__(
        self, input_features: mx.array, decoder_input_ids: mx.array
    ) -> dict[str, mx.array]:
        """Takes and gives:
        input_features: float32[B, 8, 40]
        decoder_input_ids: int64[B, T]
        -> float32[B, T, 50], float32[B, 20, 32]
        """
        x, h = self.model(input_features.transpose(0, 2, 1), decoder_input_ids)
        lm_logits = self.model.decoder.embed_tokens.as_linear(h)
        return {"logits": lm_logits, "encoder_last_hidden_state": x}


def load(path: str | Path = Path(__file__).parent) -> WhisperForConditionalGeneration:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = WhisperForConditionalGeneration()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
