"""Language models: encoders, decoders, and encoders with decoders."""

from __future__ import annotations

from tests.conformance.architectures.case import (
    VOCABULARY,
    Case,
    architecture,
    ids,
    made,
    padded_ids,
)

ENCODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
DECODER = {**ENCODER, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
SIZES = {"batch": 3, "length": 11}
UNCACHED = {"use_cache": False}


@architecture("text")
def bert() -> Case:
    return Case(made("BertForMaskedLM", "BertConfig", **ENCODER), padded_ids, SIZES)


@architecture("text")
def llama() -> Case:
    module = made("LlamaForCausalLM", "LlamaConfig", **DECODER)
    return Case(module, ids, SIZES, options=UNCACHED)
