"""Real exports: what is left of attention, and that it still computes what torch does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pytorch_to_mlx.graph import Graph
from pytorch_to_mlx.passes import evaluate
from pytorch_to_mlx.passes.clean import CLEAN
from pytorch_to_mlx.passes.fuse import FUSE
from tests.passes.helpers import exported, outputs, run_pass, targets

SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


class Hidden(torch.nn.Module):
    """A transformers model from ids to its last hidden state."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model(ids, use_cache=False)[0]


def _llama(attention: str) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(**SMALL, num_key_value_heads=2, attn_implementation=attention)
    return LlamaModel(config)


def _mistral(attention: str) -> torch.nn.Module:
    from transformers import MistralConfig, MistralModel

    config = MistralConfig(
        **SMALL, num_key_value_heads=2, head_dim=8, sliding_window=4, attn_implementation=attention
    )
    return MistralModel(config)


def _neox(attention: str) -> torch.nn.Module:
    from transformers import GPTNeoXConfig, GPTNeoXModel

    return GPTNeoXModel(GPTNeoXConfig(**SMALL, attn_implementation=attention))


def _gptj(attention: str) -> torch.nn.Module:
    from transformers import GPTJConfig, GPTJModel

    config = GPTJConfig(
        vocab_size=64, n_embd=32, n_layer=1, n_head=4, rotary_dim=4, n_positions=64,
        bos_token_id=0, eos_token_id=1, attn_implementation=attention,
    )  # fmt: skip
    return GPTJModel(config)


def _gpt2(attention: str) -> torch.nn.Module:
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=64, n_embd=32, n_layer=1, n_head=4, n_positions=64,
        bos_token_id=0, eos_token_id=1, attn_implementation=attention,
    )  # fmt: skip
    return GPT2Model(config)


def optimised(module: torch.nn.Module, ids: torch.Tensor) -> tuple[Graph, float]:
    """The graph after all passes, and the largest error at another size than the traced one."""
    module = module.eval()
    graph, tensors = exported(module, ids)
    run_pass(graph, *(p for _, p in (*CLEAN, *FUSE, *CLEAN)), tensors=tensors)
    for param in graph.params.values():
        if param.recipe is not None:
            tensors[param.path] = torch.from_numpy(np.array(evaluate.tensor(param)))
    other = torch.cat([ids, ids[:1].flip(1)])[:, :7]
    with torch.no_grad():
        want = module(other).numpy()
    return graph, float(np.abs(outputs(graph, [other], tensors)[0] - want).max())


def calls(graph: Graph, target: str) -> list[dict[str, Any]]:
    return [n.kwargs for n in graph.nodes if n.target == target]


ROPE, ATTENTION = "mx.fast.rope", "mx.fast.scaled_dot_product_attention"
# What may be left around attention, besides the calls above.
PLAIN = {
    "ops.embedding", "ops.linear", "mx.fast.rms_norm", "mx.fast.layer_norm", "mx.reshape",
    "mx.split", "mx.transpose", "mx.add", "mx.multiply", "mx.arange", "nn.silu", "nn.gelu",
    "nn.gelu_approx", ROPE, ATTENTION,
}  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize(
    "make, attention, ropes",
    [
        (_llama, "eager", 2),
        (_llama, "sdpa", 2),
        (_neox, "eager", 2),
        (_gptj, "eager", 2),
        (_gpt2, "eager", 0),
    ],
)
def test_causal_models(make: Callable[[str], torch.nn.Module], attention: str, ropes: int):
    torch.manual_seed(0)
    ids = torch.randint(0, 64, (2, 11))
    graph, error = optimised(Hidden(make(attention)), ids)
    assert error < 5e-6
    assert len(calls(graph, ROPE)) == ropes
    (fused,) = calls(graph, ATTENTION)
    assert fused["mask"] == "causal"
    assert set(targets(graph)) <= PLAIN


@pytest.mark.torch
def test_a_sliding_window_is_kept():
    torch.manual_seed(0)
    graph, error = optimised(Hidden(_mistral("eager")), torch.randint(0, 64, (2, 11)))
    assert error < 5e-6
    assert len(calls(graph, ROPE)) == 2
    (made,) = [n for n in graph.nodes if n.target == "ops.sliding_window_mask"]
    assert made.args[1] == 4
    assert set(targets(graph)) <= PLAIN | {"ops.sliding_window_mask"}
