"""Further mixtures of experts, and models that mix attention with states."""

from __future__ import annotations

from tests.conformance.architectures.case import Case, architecture, made
from tests.conformance.architectures.experts import EXPERTS
from tests.conformance.architectures.text import decoder

LATENT = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "num_key_value_heads": 4,
}  # fmt: skip
GROUPED = {
    "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "n_group": 2,
    "topk_group": 1, "first_k_dense_replace": 1,
}  # fmt: skip

# -- experts -------------------------------------------------------------------------------------


@architecture("experts")
def deepseek_v2() -> Case:
    return decoder("DeepseekV2ForCausalLM", "DeepseekV2Config", **LATENT, **GROUPED,
                   topk_method="group_limited_greedy")  # fmt: skip


@architecture("experts")
def dbrx() -> Case:
    module = made("DbrxForCausalLM", "DbrxConfig", d_model=32, n_heads=4, n_layers=2,
                  max_seq_len=64, vocab_size=99,
                  attn_config={"kv_n_heads": 2, "clip_qkv": 2.0, "rope_theta": 10000.0},
                  ffn_config={"ffn_hidden_size": 24, "moe_num_experts": 4, "moe_top_k": 2,
                              "hidden_size": 32})  # fmt: skip
    base = decoder("LlamaForCausalLM", "LlamaConfig")
    return Case(module, base.inputs, base.sizes, options=base.options)


@architecture("experts")
def ernie4_5_moe() -> Case:
    return decoder("Ernie4_5_MoeForCausalLM", "Ernie4_5_MoeConfig", moe_intermediate_size=24,
                   moe_num_experts=4, moe_k=2, moe_layer_start_index=1,
                   moe_num_shared_experts=1)  # fmt: skip


@architecture("experts")
def jetmoe() -> Case:
    return decoder("JetMoeForCausalLM", "JetMoeConfig", kv_channels=8, num_local_experts=4,
                   num_key_value_heads=2, num_attention_heads=4,
                   num_experts_per_tok=2)  # fmt: skip


@architecture("experts")
def llama4() -> Case:
    return decoder("Llama4ForCausalLM", "Llama4TextConfig", num_local_experts=4, head_dim=8,
                   intermediate_size_mlp=40, attention_chunk_size=6,
                   num_hidden_layers=4)  # fmt: skip


@architecture("experts")
def lfm2_moe() -> Case:
    return decoder("Lfm2MoeForCausalLM", "Lfm2MoeConfig", **EXPERTS, num_dense_layers=1,
                   num_hidden_layers=3,
                   layer_types=["conv", "full_attention", "conv"])  # fmt: skip


# -- states beside attention ---------------------------------------------------------------------


@architecture("experts")
def lfm2() -> Case:
    return decoder("Lfm2ForCausalLM", "Lfm2Config", layer_types=["conv", "full_attention"],
                   block_multiple_of=8)  # fmt: skip


@architecture("experts")
def kimi_linear() -> Case:
    return decoder("KimiLinearForCausalLM", "KimiLinearConfig", **LATENT, **GROUPED,
                   num_local_experts=8, linear_head_dim=8, linear_num_heads=4,
                   layer_types=["linear_attention", "full_attention"])  # fmt: skip
