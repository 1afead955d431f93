"""Further mixtures of experts, and models that mix attention with states."""

from __future__ import annotations

from tests.conformance.architectures.case import Case, architecture, made
from tests.conformance.architectures.experts import EXPERTS, stepwise
from tests.conformance.architectures.text import DECODER, decoder

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
def flex_olmo() -> Case:
    return decoder("FlexOlmoForCausalLM", "FlexOlmoConfig", num_experts=4, num_experts_per_tok=2)


@architecture("experts")
def glm4_moe() -> Case:
    return decoder("Glm4MoeForCausalLM", "Glm4MoeConfig", **GROUPED, head_dim=8, use_qk_norm=True)


@architecture("experts")
def jetmoe() -> Case:
    return decoder("JetMoeForCausalLM", "JetMoeConfig", kv_channels=8, num_local_experts=4,
                   num_key_value_heads=2, num_attention_heads=4,
                   num_experts_per_tok=2)  # fmt: skip


@architecture("experts")
def granitemoeshared() -> Case:
    return decoder("GraniteMoeSharedForCausalLM", "GraniteMoeSharedConfig", num_local_experts=4,
                   num_experts_per_tok=2, shared_intermediate_size=24)  # fmt: skip


@architecture("experts")
def hunyuan_v1_moe() -> Case:
    return decoder("HunYuanMoEV1ForCausalLM", "HunYuanMoEV1Config", num_experts=4, moe_topk=2,
                   head_dim=8)  # fmt: skip


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


@architecture("experts")
def afmoe() -> Case:
    return decoder("AfmoeForCausalLM", "AfmoeConfig", **EXPERTS, num_dense_layers=1, head_dim=8,
                   num_shared_experts=1, sliding_window=6,
                   global_attn_every_n_layers=2)  # fmt: skip


# -- states beside attention ---------------------------------------------------------------------


@architecture("experts")
def lfm2() -> Case:
    return decoder("Lfm2ForCausalLM", "Lfm2Config", layer_types=["conv", "full_attention"],
                   block_multiple_of=8)  # fmt: skip


@architecture("experts")
def minimax() -> Case:
    return decoder("MiniMaxForCausalLM", "MiniMaxConfig", num_local_experts=4, block_size=4,
                   head_dim=8, layer_types=["linear_attention", "full_attention"])  # fmt: skip


@architecture("experts")
def recurrent_gemma() -> Case:
    options = {**DECODER, "num_hidden_layers": 3}
    return stepwise(made("RecurrentGemmaForCausalLM", "RecurrentGemmaConfig", **options,
                         lru_width=32, attention_window_size=6))  # fmt: skip


@architecture("experts")
def zamba2() -> Case:
    return decoder("Zamba2ForCausalLM", "Zamba2Config", num_hidden_layers=3, mamba_d_state=8,
                   layers_block_type=["mamba", "hybrid", "mamba"], n_mamba_heads=4,
                   mamba_headdim=16, mamba_ngroups=2, chunk_size=4,
                   attention_head_dim=16)  # fmt: skip


@architecture("experts")
def nemotron_h() -> Case:
    return decoder("NemotronHForCausalLM", "NemotronHConfig", num_hidden_layers=3, head_dim=8,
                   layers_block_type=["mamba", "attention", "moe"], ssm_state_size=8,
                   mamba_num_heads=4, mamba_head_dim=16, n_groups=2, chunk_size=4,
                   n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=24,
                   moe_shared_expert_intermediate_size=24)  # fmt: skip


@architecture("experts")
def falcon_h1() -> Case:
    return decoder("FalconH1ForCausalLM", "FalconH1Config", mamba_d_ssm=64, mamba_n_heads=4,
                   mamba_d_head=16, mamba_d_state=8, mamba_n_groups=2,
                   mamba_chunk_size=4)  # fmt: skip


@architecture("experts")
def granitemoehybrid() -> Case:
    return decoder("GraniteMoeHybridForCausalLM", "GraniteMoeHybridConfig", num_local_experts=4,
                   num_experts_per_tok=2, layer_types=["mamba", "attention"], mamba_n_heads=4,
                   mamba_d_head=16, mamba_d_state=8, mamba_n_groups=2, mamba_chunk_size=4,
                   shared_intermediate_size=24)  # fmt: skip


@architecture("experts")
def kimi_linear() -> Case:
    return decoder("KimiLinearForCausalLM", "KimiLinearConfig", **LATENT, **GROUPED,
                   num_local_experts=8, linear_head_dim=8, linear_num_heads=4,
                   layer_types=["linear_attention", "full_attention"])  # fmt: skip


@architecture("experts")
def xlstm() -> Case:
    module = made("xLSTMForCausalLM", "xLSTMConfig", vocab_size=99, hidden_size=32, num_heads=4,
                  num_blocks=2, chunk_size=4, max_inference_chunksize=64)  # fmt: skip
    return stepwise(module)
