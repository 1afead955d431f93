"""BertModel in MLX."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn


def zero_masked_rows(out: mx.array, mask: mx.array) -> mx.array:
    """Attention output [..., L, E] with 0 in rows whose ``mask`` [..., L or 1, S] hides every key.

    The mask is boolean (True keeps) or additive (-inf hides). torch gives 0 for such rows.
    """
    visible = mask if mask.dtype == mx.bool_ else mask != -mx.inf
    return mx.where(mx.any(visible, axis=-1, keepdims=True), out, mx.zeros_like(out))


class BertEmbeddings(nn.Module):
    """BertEmbeddings (modeling_bert.py:53)."""

    def __init__(self):
        super().__init__()
        self.word_embeddings = nn.Embedding(50, 32)
        self.position_embeddings = nn.Embedding(64, 32)
        self.token_type_embeddings = nn.Embedding(2, 32)
        self.LayerNorm = nn.LayerNorm(32, eps=1e-12)

    def __call__(self, input_ids: mx.array) -> mx.array:
        B, T = input_ids.shape
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(
            mx.zeros((B, T), dtype=mx.int32)
        )
        return self.LayerNorm(x + self.position_embeddings(mx.arange(T)))


class BertSelfAttention(nn.Module):
    """BertSelfAttention (modeling_bert.py:139)."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(32, 32)
        self.key = nn.Linear(32, 32)
        self.value = nn.Linear(32, 32)

    def __call__(self, x: mx.array, attention_mask: mx.array) -> mx.array:
        B, T, _ = x.shape
        out = mx.fast.scaled_dot_product_attention(
            self.query(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            self.key(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            self.value(x).reshape(B, T, -1, 8).transpose(0, 2, 1, 3),
            scale=8**-0.5,
            mask=attention_mask,
        )
        return zero_masked_rows(out, attention_mask).transpose(0, 2, 1, 3).reshape(B, T, -1)


class BertSelfOutput(nn.Module):
    """BertSelfOutput (modeling_bert.py:282)."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(32, 32)
        self.LayerNorm = nn.LayerNorm(32, eps=1e-12)

    def __call__(self, x: mx.array, input: mx.array) -> mx.array:
        return self.LayerNorm(self.dense(x) + input)


class BertIntermediate(nn.Module):
    """BertIntermediate (modeling_bert.py:325)."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(32, 48)

    def __call__(self, x: mx.array) -> mx.array:
        return nn.gelu(self.dense(x))


class BertOutput(nn.Module):
    """BertOutput (modeling_bert.py:340)."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(48, 32)
        self.LayerNorm = nn.LayerNorm(32, eps=1e-12)

    def __call__(self, x: mx.array, input: mx.array) -> mx.array:
        return self.LayerNorm(self.dense(x) + input)


class BertPooler(nn.Module):
    """BertPooler (modeling_bert.py:451)."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(32, 32)

    def __call__(self, x: mx.array) -> mx.array:
        return mx.tanh(self.dense(x[:, 0]))


class BertAttention(nn.Module):
    """BertAttention (modeling_bert.py:296)."""

    def __init__(self):
        super().__init__()
        self.self_ = BertSelfAttention()
        self.output = BertSelfOutput()

    def __call__(self, x: mx.array, attention_mask: mx.array) -> mx.array:
        return self.output(self.self_(x, attention_mask), x)


class BertLayer(nn.Module):
    """BertLayer (modeling_bert.py:354)."""

    def __init__(self):
        super().__init__()
        self.attention = BertAttention()
        self.intermediate = BertIntermediate()
        self.output = BertOutput()

    def __call__(self, x: mx.array, attention_mask: mx.array) -> mx.array:
        self_attention_output = self.attention(x, attention_mask)
        return self.output(self.intermediate(self_attention_output), self_attention_output)


class BertEncoder(nn.Module):
    """BertEncoder (modeling_bert.py:419)."""

    def __init__(self):
        super().__init__()
        self.layer = [BertLayer() for _ in range(3)]

    def __call__(self, x: mx.array, attention_mask: mx.array) -> mx.array:
        for layer in self.layer:
            x = layer(x, attention_mask)
        return x


class BertModel(nn.Module):
    """BertModel (modeling_bert.py:594)."""

    def __init__(self):
        super().__init__()
        self.embeddings = BertEmbeddings()
        self.encoder = BertEncoder()
        self.pooler = BertPooler()

    def __call__(self, input_ids: mx.array, attention_mask: mx.array) -> dict[str, mx.array]:
        """Takes and gives:
        input_ids: int64[B, T]
        attention_mask: int64[B, T]
        -> float32[B, T, 32], float32[B, 32]
        """
        encoder_outputs = self.encoder(
            self.embeddings(input_ids), attention_mask.astype(mx.bool_)[:, None, None]
        )
        pooled_output = self.pooler(encoder_outputs)
        return {"last_hidden_state": encoder_outputs, "pooler_output": pooled_output}


def load(path: str | Path = Path(__file__).parent) -> BertModel:
    """The model with the weights of the package folder ``path`` (``model*.safetensors``)."""
    model = BertModel()
    weights: dict[str, mx.array] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        weights.update(mx.load(str(file)))
    model.load_weights(list(weights.items()), strict=True)
    model.eval()
    return model
