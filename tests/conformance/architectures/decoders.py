"""Further language models: decoders and encoders."""

from __future__ import annotations

from tests.conformance.architectures.case import VOCABULARY, Case, architecture, made, padded_ids
from tests.conformance.architectures.text import (
    SIZES,
    decoder,
    encoder,
)

# -- decoders ------------------------------------------------------------------------------------


@architecture("text")
def doge() -> Case:
    return decoder("DogeForCausalLM", "DogeConfig")


# -- encoders ------------------------------------------------------------------------------------


@architecture("text")
def convbert() -> Case:
    return encoder("ConvBertForMaskedLM", "ConvBertConfig", embedding_size=24, conv_kernel_size=3)


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
