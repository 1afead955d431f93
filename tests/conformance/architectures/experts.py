"""Mixtures of experts and state-space models."""

from __future__ import annotations

from torch import nn

from tests.conformance.architectures.case import VOCABULARY, Case, architecture, ids, made
from tests.conformance.architectures.text import (
    DECODER,
    SEQ2SEQ_SIZES,
    SIZES,
    SPECIAL,
    UNCACHED,
    decoder,
    seq2seq,
    seq2seq_ids,
)

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}


STATES = {**SPECIAL, "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}


def stepwise(module: nn.Module) -> Case:
    """A model that walks along the sequence in a Python loop, whose turns a trace repeats."""
    why = "forward steps along it in a Python loop, which torch.export unrolls"
    return Case(
        module,
        lambda batch: ids(batch, 7),
        {"batch": 3},
        fixed={"input_ids:1": why},
        options=UNCACHED,
    )


# -- experts -------------------------------------------------------------------------------------


@architecture("experts")
def mixtral() -> Case:
    return decoder("MixtralForCausalLM", "MixtralConfig", num_local_experts=4)


@architecture("experts")
def qwen2_moe() -> Case:
    return decoder("Qwen2MoeForCausalLM", "Qwen2MoeConfig", **EXPERTS,
                   shared_expert_intermediate_size=40)  # fmt: skip


@architecture("experts")
def qwen3_moe() -> Case:
    return decoder("Qwen3MoeForCausalLM", "Qwen3MoeConfig", **EXPERTS, norm_topk_prob=True,
                   head_dim=8)  # fmt: skip


@architecture("experts")
def olmoe() -> Case:
    return decoder("OlmoeForCausalLM", "OlmoeConfig", num_experts=4, num_experts_per_tok=2)


@architecture("experts")
def deepseek_v3() -> Case:
    return decoder("DeepseekV3ForCausalLM", "DeepseekV3Config", num_key_value_heads=4,
                   n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=24, n_group=2,
                   topk_group=1, q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=8,
                   qk_nope_head_dim=8, v_head_dim=8, first_k_dense_replace=1)  # fmt: skip


@architecture("experts")
def granitemoe() -> Case:
    return decoder("GraniteMoeForCausalLM", "GraniteMoeConfig", num_local_experts=4,
                   num_experts_per_tok=2)  # fmt: skip


@architecture("experts")
def gpt_oss() -> Case:
    return decoder("GptOssForCausalLM", "GptOssConfig", num_local_experts=4, head_dim=8,
                   num_experts_per_tok=2, sliding_window=6)  # fmt: skip


@architecture("experts")
def phimoe() -> Case:
    return decoder("PhimoeForCausalLM", "PhimoeConfig", num_local_experts=4, num_experts_per_tok=2)


@architecture("experts")
def switch_transformers() -> Case:
    module = made("SwitchTransformersForConditionalGeneration", "SwitchTransformersConfig",
                  vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2,
                  num_decoder_layers=2, num_heads=4, num_experts=4, expert_capacity=64,
                  num_sparse_encoder_layers=1, num_sparse_decoder_layers=1,
                  decoder_start_token_id=0)  # fmt: skip
    return Case(module, seq2seq_ids, SEQ2SEQ_SIZES, options=UNCACHED)


@architecture("experts")
def nllb_moe() -> Case:
    return seq2seq("NllbMoeForConditionalGeneration", "NllbMoeConfig", num_experts=4,
                   expert_capacity=64, encoder_sparse_step=2, decoder_sparse_step=2)  # fmt: skip


# -- state spaces and other recurrences ----------------------------------------------------------


@architecture("experts")
def mamba() -> Case:
    return stepwise(made("MambaForCausalLM", "MambaConfig", **STATES, state_size=8))


@architecture("experts")
def mamba2() -> Case:
    module = made("Mamba2ForCausalLM", "Mamba2Config", **STATES, num_heads=4, head_dim=16,
                  state_size=8, n_groups=2, chunk_size=4)  # fmt: skip
    return Case(module, ids, SIZES, options=UNCACHED)


@architecture("experts")
def falcon_mamba() -> Case:
    return stepwise(made("FalconMambaForCausalLM", "FalconMambaConfig", **STATES, state_size=8))


@architecture("experts")
def rwkv() -> Case:
    return stepwise(made("RwkvForCausalLM", "RwkvConfig", **STATES, attention_hidden_size=32,
                     intermediate_size=48))  # fmt: skip


@architecture("experts")
def jamba() -> Case:
    options = {**DECODER, "num_hidden_layers": 4}
    return stepwise(made("JambaForCausalLM", "JambaConfig", **options, attn_layer_period=2,
                   attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1,
                   num_experts=4, num_experts_per_tok=2, mamba_d_state=8,
                   mamba_dt_rank=4))  # fmt: skip


@architecture("experts")
def bamba() -> Case:
    return decoder("BambaForCausalLM", "BambaConfig", attn_layer_indices=[1], mamba_n_heads=4,
                   mamba_d_head=16, mamba_d_state=8, mamba_n_groups=2,
                   mamba_chunk_size=4)  # fmt: skip
