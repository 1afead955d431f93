"""Language models: encoders, decoders, and encoders with decoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.conformance.architectures.case import (
    VOCABULARY,
    Case,
    Inputs,
    architecture,
    ids,
    made,
    padded_ids,
    seq2seq_ids,
)

SIZES = {"batch": 3, "length": 11}
SEQ2SEQ_SIZES = {"batch": 3, "source": 11, "length": 7}
UNCACHED = {"use_cache": False}

ENCODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DECODER = {**ENCODER, **SPECIAL, "num_key_value_heads": 2}
SEQ2SEQ = {
    **SPECIAL,
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "decoder_start_token_id": 2,
}


def encoder(model: str, config: str, **options: Any) -> Case:
    return Case(made(model, config, **{**ENCODER, **options}), padded_ids, SIZES)


def decoder(model: str, config: str, inputs: Callable[..., Inputs] = ids, **options: Any) -> Case:
    return Case(made(model, config, **{**DECODER, **options}), inputs, SIZES, options=UNCACHED)


def seq2seq(model: str, config: str, **options: Any) -> Case:
    module = made(model, config, **{**SEQ2SEQ, **options})
    return Case(module, seq2seq_ids, SEQ2SEQ_SIZES, options=UNCACHED)


# -- encoders ------------------------------------------------------------------------------------


@architecture("text")
def bert() -> Case:
    return encoder("BertForMaskedLM", "BertConfig")


@architecture("text")
def distilbert() -> Case:
    return encoder("DistilBertForMaskedLM", "DistilBertConfig", dim=32, n_layers=2, n_heads=4,
                   hidden_dim=48)  # fmt: skip


@architecture("text")
def electra() -> Case:
    return encoder("ElectraForPreTraining", "ElectraConfig", embedding_size=24)


@architecture("text")
def albert() -> Case:
    return encoder("AlbertModel", "AlbertConfig", embedding_size=24, num_hidden_layers=3)


@architecture("text")
def deberta() -> Case:
    return encoder("DebertaModel", "DebertaConfig", relative_attention=True,
                   max_relative_positions=8, pos_att_type=["p2c", "c2p"],
                   position_biased_input=False, type_vocab_size=0)  # fmt: skip


@architecture("text")
def deberta_v2() -> Case:
    return encoder("DebertaV2ForTokenClassification", "DebertaV2Config", relative_attention=True,
                   position_buckets=8, max_relative_positions=16, share_att_key=True,
                   pos_att_type=["p2c", "c2p"], norm_rel_ebd="layer_norm",
                   position_biased_input=False, type_vocab_size=0)  # fmt: skip


@architecture("text")
def mpnet() -> Case:
    return encoder("MPNetForMaskedLM", "MPNetConfig", pad_token_id=1)


@architecture("text")
def squeezebert() -> Case:
    return encoder("SqueezeBertForSequenceClassification", "SqueezeBertConfig", embedding_size=32)


@architecture("text")
def funnel() -> Case:
    module = made("FunnelForTokenClassification", "FunnelConfig", vocab_size=VOCABULARY,
                  block_sizes=[1, 2], num_decoder_layers=1, d_model=32, n_head=4, d_head=8,
                  d_inner=48)  # fmt: skip
    why = "forward counts positions in a Python list, which torch.export fixes"
    fixed = {"input_ids:1": why, "attention_mask:1": why}
    return Case(module, lambda batch: padded_ids(batch, 12), {"batch": 3}, fixed=fixed)


@architecture("text")
def longformer() -> Case:
    return encoder("LongformerForMaskedLM", "LongformerConfig", attention_window=4,
                   max_position_embeddings=128, **SPECIAL)  # fmt: skip


@architecture("text")
def xlnet() -> Case:
    module = made("XLNetLMHeadModel", "XLNetConfig", vocab_size=VOCABULARY, d_model=32, n_layer=2,
                  n_head=4, d_inner=48)  # fmt: skip
    return Case(module, padded_ids, SIZES, options={"use_mems": False})


@architecture("text")
def roberta() -> Case:
    return encoder("RobertaForSequenceClassification", "RobertaConfig", **SPECIAL)


@architecture("text")
def modernbert() -> Case:
    return encoder("ModernBertForMaskedLM", "ModernBertConfig", local_attention=8,
                   global_attn_every_n_layers=2, cls_token_id=1, sep_token_id=2,
                   **SPECIAL)  # fmt: skip


# -- decoders ------------------------------------------------------------------------------------


@architecture("text")
def gpt2() -> Case:
    module = made("GPT2LMHeadModel", "GPT2Config", vocab_size=VOCABULARY, n_embd=32, n_layer=2,
                  n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2)  # fmt: skip
    return Case(module, padded_ids, SIZES, options=UNCACHED)


@architecture("text")
def llama() -> Case:
    return decoder("LlamaForCausalLM", "LlamaConfig")


@architecture("text")
def mistral() -> Case:
    return decoder("MistralForCausalLM", "MistralConfig", sliding_window=6)


@architecture("text")
def qwen2() -> Case:
    return decoder("Qwen2ForCausalLM", "Qwen2Config", padded_ids, use_sliding_window=True,
                   sliding_window=6, max_window_layers=1)  # fmt: skip


@architecture("text")
def qwen3() -> Case:
    return decoder("Qwen3ForCausalLM", "Qwen3Config", head_dim=12)


@architecture("text")
def gemma() -> Case:
    return decoder("GemmaForCausalLM", "GemmaConfig", head_dim=16, num_key_value_heads=1)


@architecture("text")
def gemma2() -> Case:
    return decoder("Gemma2ForCausalLM", "Gemma2Config", head_dim=16, sliding_window=6,
                   query_pre_attn_scalar=12)  # fmt: skip


@architecture("text")
def gemma3() -> Case:
    return decoder("Gemma3ForCausalLM", "Gemma3TextConfig", head_dim=16, sliding_window=6,
                   num_hidden_layers=3, sliding_window_pattern=3)  # fmt: skip


@architecture("text")
def phi() -> Case:
    return decoder("PhiForCausalLM", "PhiConfig", num_key_value_heads=4, partial_rotary_factor=0.5)


@architecture("text")
def phi3() -> Case:
    return decoder("Phi3ForCausalLM", "Phi3Config", padded_ids)


@architecture("text")
def gpt_neox() -> Case:
    return decoder("GPTNeoXForCausalLM", "GPTNeoXConfig", rotary_pct=0.5)


@architecture("text")
def gpt_neo() -> Case:
    module = made("GPTNeoForCausalLM", "GPTNeoConfig", vocab_size=VOCABULARY, hidden_size=32,
                  num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]],
                  max_position_embeddings=64, window_size=5, **SPECIAL)  # fmt: skip
    return Case(module, ids, SIZES, options=UNCACHED)


@architecture("text")
def gptj() -> Case:
    module = made("GPTJForCausalLM", "GPTJConfig", vocab_size=VOCABULARY, n_embd=32, n_layer=2,
                  n_head=4, rotary_dim=4, n_positions=64, **SPECIAL)  # fmt: skip
    return Case(module, ids, SIZES, options=UNCACHED)


@architecture("text")
def bloom() -> Case:
    module = made("BloomForCausalLM", "BloomConfig", vocab_size=VOCABULARY, hidden_size=32,
                  n_layer=2, n_head=4, **SPECIAL)  # fmt: skip
    return Case(module, padded_ids, SIZES, options=UNCACHED)


@architecture("text")
def opt() -> Case:
    return decoder("OPTForCausalLM", "OPTConfig", padded_ids, ffn_dim=48, word_embed_proj_dim=32)


@architecture("text")
def falcon() -> Case:
    return decoder("FalconForCausalLM", "FalconConfig", multi_query=True, parallel_attn=True)


@architecture("text")
def mpt() -> Case:
    module = made("MptForCausalLM", "MptConfig", vocab_size=VOCABULARY, d_model=32, n_layers=2,
                  n_heads=4, expansion_ratio=2, max_seq_len=64, **SPECIAL)  # fmt: skip
    return Case(module, ids, SIZES, options=UNCACHED)


@architecture("text")
def xglm() -> Case:
    return decoder("XGLMForCausalLM", "XGLMConfig", d_model=32, ffn_dim=48, num_layers=2,
                   attention_heads=4)  # fmt: skip


@architecture("text")
def hunyuan_v1_dense() -> Case:
    return decoder("HunYuanDenseV1ForCausalLM", "HunYuanDenseV1Config", head_dim=8)


@architecture("text")
def olmo2() -> Case:
    return decoder("Olmo2ForCausalLM", "Olmo2Config")


@architecture("text")
def cohere() -> Case:
    return decoder("CohereForCausalLM", "CohereConfig", use_qk_norm=True)


@architecture("text")
def stablelm() -> Case:
    return decoder("StableLmForCausalLM", "StableLmConfig", use_qkv_bias=True)


@architecture("text")
def starcoder2() -> Case:
    return decoder("Starcoder2ForCausalLM", "Starcoder2Config", sliding_window=None)


# -- encoders with decoders ----------------------------------------------------------------------


@architecture("text")
def t5() -> Case:
    module = made("T5ForConditionalGeneration", "T5Config", vocab_size=VOCABULARY, d_model=32,
                  d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0)  # fmt: skip
    return Case(module, seq2seq_ids, SEQ2SEQ_SIZES, options=UNCACHED)


@architecture("text")
def bart() -> Case:
    return seq2seq("BartForConditionalGeneration", "BartConfig")


@architecture("text")
def mbart() -> Case:
    return seq2seq("MBartForConditionalGeneration", "MBartConfig")


@architecture("text")
def marian() -> Case:
    return seq2seq("MarianMTModel", "MarianConfig")


@architecture("text")
def m2m_100() -> Case:
    return seq2seq("M2M100ForConditionalGeneration", "M2M100Config")


@architecture("text")
def pegasus() -> Case:
    return seq2seq("PegasusForConditionalGeneration", "PegasusConfig")


@architecture("text")
def led() -> Case:
    return seq2seq("LEDForConditionalGeneration", "LEDConfig", attention_window=4,
                   max_encoder_position_embeddings=128,
                   max_decoder_position_embeddings=64)  # fmt: skip
