"""Further language models: decoders, encoders, and encoders with decoders."""

from __future__ import annotations

from tests.conformance.architectures.case import VOCABULARY, Case, architecture, made, padded_ids
from tests.conformance.architectures.text import (
    SEQ2SEQ_SIZES,
    SIZES,
    SPECIAL,
    UNCACHED,
    decoder,
    encoder,
    seq2seq,
    seq2seq_ids,
)

T5 = {
    **SPECIAL, "vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2,
    "num_decoder_layers": 2, "num_heads": 4, "decoder_start_token_id": 0,
}  # fmt: skip

# -- decoders ------------------------------------------------------------------------------------


@architecture("text")
def glm4() -> Case:
    return decoder("Glm4ForCausalLM", "Glm4Config", head_dim=8)


@architecture("text")
def granite() -> Case:
    return decoder("GraniteForCausalLM", "GraniteConfig", embedding_multiplier=3.0,
                   residual_multiplier=0.5, logits_scaling=2.0)  # fmt: skip


@architecture("text")
def olmo() -> Case:
    return decoder("OlmoForCausalLM", "OlmoConfig", clip_qkv=2.0)


@architecture("text")
def olmo3() -> Case:
    return decoder("Olmo3ForCausalLM", "Olmo3Config", sliding_window=6, num_hidden_layers=4)


@architecture("text")
def cohere2() -> Case:
    return decoder("Cohere2ForCausalLM", "Cohere2Config", sliding_window=6, num_hidden_layers=4,
                   inputs=padded_ids)  # fmt: skip


@architecture("text")
def exaone4() -> Case:
    return decoder("Exaone4ForCausalLM", "Exaone4Config", sliding_window=6, num_hidden_layers=4,
                   sliding_window_pattern=2)  # fmt: skip


@architecture("text")
def smollm3() -> Case:
    return decoder("SmolLM3ForCausalLM", "SmolLM3Config", no_rope_layers=[1, 0])


@architecture("text")
def helium() -> Case:
    return decoder("HeliumForCausalLM", "HeliumConfig", head_dim=8)


@architecture("text")
def nemotron() -> Case:
    return decoder("NemotronForCausalLM", "NemotronConfig")


@architecture("text")
def persimmon() -> Case:
    return decoder("PersimmonForCausalLM", "PersimmonConfig")


@architecture("text")
def codegen() -> Case:
    module = made("CodeGenForCausalLM", "CodeGenConfig", vocab_size=VOCABULARY, n_embd=32,
                  n_layer=2, n_head=4, n_positions=64, n_ctx=64, rotary_dim=4,
                  **SPECIAL)  # fmt: skip
    return Case(module, padded_ids, SIZES, options=UNCACHED)


@architecture("text")
def gpt_bigcode() -> Case:
    module = made("GPTBigCodeForCausalLM", "GPTBigCodeConfig", vocab_size=VOCABULARY, n_embd=32,
                  n_layer=2, n_head=4, n_positions=64, **SPECIAL)  # fmt: skip
    return Case(module, padded_ids, SIZES, options=UNCACHED)


@architecture("text")
def biogpt() -> Case:
    return decoder("BioGptForCausalLM", "BioGptConfig", inputs=padded_ids)


@architecture("text")
def ctrl() -> Case:
    module = made("CTRLLMHeadModel", "CTRLConfig", vocab_size=VOCABULARY, n_embd=32, n_layer=2,
                  n_head=4, n_positions=64, dff=48)  # fmt: skip
    return Case(module, padded_ids, SIZES, options=UNCACHED)


@architecture("text")
def diffllama() -> Case:
    return decoder("DiffLlamaForCausalLM", "DiffLlamaConfig")


@architecture("text")
def apertus() -> Case:
    return decoder("ApertusForCausalLM", "ApertusConfig")


@architecture("text")
def gemma3n() -> Case:
    return decoder("Gemma3nForCausalLM", "Gemma3nTextConfig", head_dim=8, num_hidden_layers=4,
                   layer_types=["sliding_attention", "full_attention"] * 2, sliding_window=6,
                   hidden_size_per_layer_input=8, vocab_size_per_layer_input=VOCABULARY,
                   altup_num_inputs=3, laurel_rank=4, num_kv_shared_layers=2,
                   activation_sparsity_pattern=[0.5, 0.0, 0.0, 0.0],
                   intermediate_size=[48] * 4)  # fmt: skip


@architecture("text")
def minicpm3() -> Case:
    return decoder("MiniCPM3ForCausalLM", "MiniCPM3Config", num_key_value_heads=4, q_lora_rank=16,
                   kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8,
                   v_head_dim=8)  # fmt: skip


@architecture("text")
def doge() -> Case:
    return decoder("DogeForCausalLM", "DogeConfig")


@architecture("text")
def nanochat() -> Case:
    return decoder("NanoChatForCausalLM", "NanoChatConfig")


# -- encoders ------------------------------------------------------------------------------------


@architecture("text")
def roformer() -> Case:
    return encoder("RoFormerForMaskedLM", "RoFormerConfig", embedding_size=24)


@architecture("text")
def nystromformer() -> Case:
    return encoder("NystromformerForMaskedLM", "NystromformerConfig", num_landmarks=4,
                   segment_means_seq_len=4, conv_kernel_size=3)  # fmt: skip


@architecture("text")
def convbert() -> Case:
    return encoder("ConvBertForMaskedLM", "ConvBertConfig", embedding_size=24, conv_kernel_size=3)


@architecture("text")
def mobilebert() -> Case:
    return encoder("MobileBertForMaskedLM", "MobileBertConfig", embedding_size=16,
                   intra_bottleneck_size=16, true_hidden_size=16)  # fmt: skip


@architecture("text")
def fnet() -> Case:
    module = made("FNetForMaskedLM", "FNetConfig", vocab_size=VOCABULARY, hidden_size=32,
                  num_hidden_layers=2, intermediate_size=48,
                  max_position_embeddings=64)  # fmt: skip

    def inputs(batch: int, length: int) -> dict[str, object]:
        return {"input_ids": padded_ids(batch, length)["input_ids"]}

    return Case(module, inputs, SIZES)


@architecture("text")
def esm() -> Case:
    return encoder("EsmForMaskedLM", "EsmConfig", position_embedding_type="rotary", mask_token_id=4,
                   pad_token_id=0, token_dropout=True)  # fmt: skip


@architecture("text")
def ibert() -> Case:
    return encoder("IBertForMaskedLM", "IBertConfig", **SPECIAL)


@architecture("text")
def xlm() -> Case:
    module = made("XLMWithLMHeadModel", "XLMConfig", vocab_size=VOCABULARY, emb_dim=32, n_layers=2,
                  n_heads=4, max_position_embeddings=64, n_langs=1)  # fmt: skip
    return Case(module, padded_ids, SIZES)


@architecture("text")
def luke() -> Case:
    return encoder("LukeForMaskedLM", "LukeConfig", entity_vocab_size=11, entity_emb_size=16,
                   **SPECIAL)  # fmt: skip


@architecture("text")
def big_bird() -> Case:
    return encoder("BigBirdForMaskedLM", "BigBirdConfig", attention_type="original_full", **SPECIAL)


@architecture("text")
def nomic_bert() -> Case:
    return encoder("NomicBertForMaskedLM", "NomicBertConfig")


@architecture("text")
def perceiver() -> Case:
    module = made("PerceiverForMaskedLM", "PerceiverConfig", vocab_size=VOCABULARY, num_latents=6,
                  d_latents=24, d_model=16, num_blocks=1, num_self_attends_per_block=2,
                  num_self_attention_heads=2, num_cross_attention_heads=2, qk_channels=16,
                  v_channels=24, max_position_embeddings=24)  # fmt: skip

    def inputs(batch: int) -> dict[str, object]:
        given = padded_ids(batch, 24)
        return {"inputs": given["input_ids"], "attention_mask": given["attention_mask"]}

    why = "the decoder's queries are one for each of the configured positions"
    fixed = {"inputs:1": why, "attention_mask:1": why}
    return Case(module, inputs, {"batch": 3}, fixed=fixed)


# -- encoders with decoders ----------------------------------------------------------------------


@architecture("text")
def mt5() -> Case:
    return Case(made("MT5ForConditionalGeneration", "MT5Config", **T5), seq2seq_ids, SEQ2SEQ_SIZES,
                options=UNCACHED)  # fmt: skip


@architecture("text")
def longt5() -> Case:
    module = made("LongT5ForConditionalGeneration", "LongT5Config", **T5, local_radius=3,
                  encoder_attention_type="local")  # fmt: skip
    return Case(module, seq2seq_ids, SEQ2SEQ_SIZES, options=UNCACHED)


@architecture("text")
def blenderbot() -> Case:
    return seq2seq("BlenderbotForConditionalGeneration", "BlenderbotConfig")


@architecture("text")
def pegasus_x() -> Case:
    return seq2seq("PegasusXForConditionalGeneration", "PegasusXConfig", block_size=4,
                   num_global_tokens=3)  # fmt: skip


@architecture("text")
def prophetnet() -> Case:
    module = made("ProphetNetForConditionalGeneration", "ProphetNetConfig", **SPECIAL,
                  vocab_size=VOCABULARY, hidden_size=32, num_encoder_layers=2,
                  num_decoder_layers=2, num_encoder_attention_heads=4,
                  num_decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48,
                  max_position_embeddings=64, decoder_start_token_id=0)  # fmt: skip
    return Case(module, seq2seq_ids, SEQ2SEQ_SIZES, options=UNCACHED)


@architecture("text")
def t5gemma() -> Case:
    part = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 8, "sliding_window": 6, "max_position_embeddings": 64}  # fmt: skip
    module = made("T5GemmaForConditionalGeneration", "T5GemmaConfig", encoder=dict(part),
                  decoder=dict(part), vocab_size=VOCABULARY, **SPECIAL)  # fmt: skip
    return Case(module, seq2seq_ids, SEQ2SEQ_SIZES, options=UNCACHED)
