"""Tiny models of the transformers library: caches, masks, ModelOutputs, tied weights."""

from __future__ import annotations

import pytest
import torch
import transformers

from tests.capture.helpers import checked, compare, static, where

TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 50,
    "max_position_embeddings": 64,
}
IDS = torch.arange(5, 12)[None]


def build(kind, config, **options):
    torch.manual_seed(0)
    return getattr(transformers, kind)(getattr(transformers, config)(**options)).eval()


def test_llama():
    module = build(
        "LlamaForCausalLM", "LlamaConfig", **TEXT, num_key_value_heads=2, tie_word_embeddings=True
    )
    captured = checked(module, input_ids=IDS, attention_mask=torch.ones_like(IDS))
    assert where(captured) == [
        ["input_ids:0", "attention_mask:0"],
        ["input_ids:1", "attention_mask:1"],
    ]
    assert captured.aliases == {"lm_head.weight": "model.embed_tokens.weight"}
    assert captured.output_names == ["logits"]
    assert any("use_cache=False" in w for w in captured.warnings)
    arguments = dict(captured.bound["model.layers.1", 0])
    first = dict(captured.bound["model.layers.0", 0])
    assert arguments["hidden_states"] != first["hidden_states"]
    assert arguments["attention_mask"] == first["attention_mask"] is not None
    assert len([n for n in first if n.startswith("position_embeddings.")]) == 2
    other = torch.arange(9)[None].repeat(3, 1)
    mask = torch.ones_like(other)
    mask[1, 5:] = 0
    calls = [((), {"input_ids": other, "attention_mask": mask})]
    compare(captured, module, calls)
    compare(captured, module, [((), {k: v[:1, :1] for k, v in calls[0][1].items()})])


def test_bert_with_padding():
    module = build("BertModel", "BertConfig", **TEXT)
    mask = torch.ones_like(IDS)
    mask[:, 5:] = 0
    captured = checked(module, input_ids=IDS, attention_mask=mask)
    assert [e["max"] for e in captured.dims["symbols"].values()] == [None, 64]
    assert captured.output_names == ["last_hidden_state", "pooler_output"]


def test_t5():
    module = build(
        "T5ForConditionalGeneration", "T5Config",
        d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4, vocab_size=50,
    )  # fmt: skip
    captured = checked(module, input_ids=IDS, decoder_input_ids=IDS[:, :4])
    assert ["input_ids:1"] in where(captured)
    assert ["decoder_input_ids:1"] in where(captured)
    assert set(captured.aliases.values()) == {"shared.weight"}


def test_whisper():
    module = build(
        "WhisperForConditionalGeneration", "WhisperConfig",
        d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=60,
        num_mel_bins=8, max_source_positions=20, max_target_positions=30, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    features = torch.randn(1, 8, 40)
    captured = checked(module, input_features=features, decoder_input_ids=IDS[:, :4])
    assert where(captured) == [
        ["input_features:0", "decoder_input_ids:0"],
        ["decoder_input_ids:1"],
    ]
    assert "length 40" in static(captured)["input_features:2"]


def test_mixtral():
    module = build(
        "MixtralForCausalLM", "MixtralConfig", **TEXT, num_key_value_heads=2, num_local_experts=4
    )
    captured = checked(module, input_ids=IDS)
    assert where(captured) == [["input_ids:0"], ["input_ids:1"]]


@pytest.mark.parametrize("given", [True, False])
def test_caches_of_gpt2(given):
    module = build("GPT2LMHeadModel", "GPT2Config", n_embd=16, n_layer=2, n_head=4, vocab_size=50,
                   bos_token_id=1, eos_token_id=2)  # fmt: skip
    captured = checked(module, input_ids=IDS, use_cache=given)
    assert captured.output_names == ["logits"]
    assert any("Cache) holds no plain" in w for w in captured.warnings) is given
