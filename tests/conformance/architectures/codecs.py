"""Neural codecs, vocoders and speech synthesis."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.conformance.architectures.case import (
    VOCABULARY,
    Case,
    Inputs,
    architecture,
    made,
    tokens,
)

CODEC_CHANNEL = {"input_values:1": "the channels of the first convolution"}


def with_codebooks(module: nn.Module) -> nn.Module:
    """Draws the codebooks, which are buffers that start at zero: all codes would be equal."""
    for buffer in module.buffers():
        if buffer.ndim == 2 and not buffer.any():
            buffer.copy_(torch.randn(buffer.shape))
    return module


def spectrogram(batch: int, length: int) -> Inputs:
    return {"spectrogram": torch.randn(batch, length, 8)}


def sound(batch: int, length: int) -> Inputs:
    return {"input_values": torch.randn(batch, 1, length)}


@architecture("audio")
def encodec() -> Case:
    options: dict[str, Any] = {
        "num_filters": 4, "hidden_size": 16, "codebook_size": 32, "codebook_dim": 16,
        "upsampling_ratios": [4, 2], "num_lstm_layers": 1, "sampling_rate": 800,
        "target_bandwidths": [1.5, 3.0],
    }  # fmt: skip

    def inputs(batch: int) -> Inputs:
        return sound(batch, 160)

    reason = "cut into chunks by a Python loop over the length, which torch.export unrolls"
    fixed = {**CODEC_CHANNEL, "input_values:2": reason}
    module = with_codebooks(made("EncodecModel", "EncodecConfig", **options))
    return Case(module, inputs, {"batch": 2}, fixed=fixed)


@architecture("audio")
def dac() -> Case:
    options: dict[str, Any] = {
        "encoder_hidden_size": 8, "downsampling_ratios": [2, 4], "upsampling_ratios": [4, 2],
        "decoder_hidden_size": 32, "n_codebooks": 3, "codebook_size": 16, "codebook_dim": 4,
        "hidden_size": 32,
    }  # fmt: skip
    return Case(
        made("DacModel", "DacConfig", **options),
        sound,
        {"batch": 2, "length": 160},
        others={"length": (96, 248)},
        fixed=CODEC_CHANNEL,
    )


@architecture("audio")
def mimi() -> Case:
    options: dict[str, Any] = {
        "hidden_size": 32, "num_filters": 8, "upsampling_ratios": [4, 2], "codebook_size": 32,
        "codebook_dim": 16, "num_quantizers": 3, "vector_quantization_hidden_dimension": 16,
        "upsample_groups": 32, "num_hidden_layers": 2, "intermediate_size": 48,
        "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8, "sliding_window": 6,
        "sampling_rate": 800, "use_cache": False,
    }  # fmt: skip
    return Case(
        with_codebooks(made("MimiModel", "MimiConfig", **options)),
        sound,
        {"batch": 2, "length": 160},
        others={"length": (93, 250)},
        fixed=CODEC_CHANNEL,
    )


@architecture("audio")
def hifigan() -> Case:
    options: dict[str, Any] = {
        "model_in_dim": 8, "upsample_initial_channel": 16, "upsample_rates": [4, 2],
        "upsample_kernel_sizes": [8, 4], "resblock_kernel_sizes": [3, 5],
        "resblock_dilation_sizes": [[1, 3], [1, 3]],
    }  # fmt: skip
    return Case(
        made("SpeechT5HifiGan", "SpeechT5HifiGanConfig", **options),
        spectrogram,
        {"batch": 2, "length": 21},
        fixed={"spectrogram:2": "the mel bins of the first convolution"},
    )


@architecture("audio")
def univnet() -> Case:
    options: dict[str, Any] = {
        "model_in_channels": 8, "model_hidden_channels": 8, "num_mel_bins": 12,
        "resblock_kernel_sizes": [3, 3], "resblock_stride_sizes": [4, 2],
        "resblock_dilation_sizes": [[1, 3], [1, 3]], "kernel_predictor_num_blocks": 1,
        "kernel_predictor_hidden_channels": 8,
    }  # fmt: skip

    def inputs(batch: int, length: int) -> Inputs:
        return {
            "input_features": torch.randn(batch, length, 12),
            "noise_sequence": torch.randn(batch, length, 8),
        }

    fixed = {
        "input_features:2": "the mel bins of the first convolution",
        "noise_sequence:2": "the channels of the first convolution",
    }
    module = made("UnivNetModel", "UnivNetConfig", **options)
    return Case(module, inputs, {"batch": 2, "length": 21}, fixed=fixed)


@architecture("audio")
def vits() -> Case:
    """Deterministic: the noise of the flow is given no weight."""
    options: dict[str, Any] = {
        "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "ffn_dim": 24, "flow_size": 16, "spectrogram_bins": 9,
        "upsample_initial_channel": 16, "upsample_rates": [4, 2], "upsample_kernel_sizes": [8, 4],
        "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]],
        "duration_predictor_filter_channels": 16, "prior_encoder_num_flows": 2,
        "prior_encoder_num_wavenet_layers": 2, "posterior_encoder_num_wavenet_layers": 2,
        "use_stochastic_duration_prediction": False, "noise_scale": 0.0,
    }  # fmt: skip

    def inputs(batch: int, length: int) -> Inputs:
        return {"input_ids": tokens(batch, length)}

    return Case(made("VitsModel", "VitsConfig", **options), inputs, {"batch": 2, "length": 11})


@architecture("audio")
def fastspeech2_conformer() -> Case:
    options: dict[str, Any] = {
        "hidden_size": 16, "vocab_size": VOCABULARY, "num_mel_bins": 8,
        "encoder_num_attention_heads": 2, "encoder_layers": 1, "encoder_linear_units": 24,
        "decoder_layers": 1, "decoder_num_attention_heads": 2, "decoder_linear_units": 24,
        "speech_decoder_postnet_layers": 2, "speech_decoder_postnet_units": 8,
        "duration_predictor_channels": 8, "energy_predictor_channels": 8,
        "pitch_predictor_channels": 8, "pitch_predictor_layers": 2,
    }  # fmt: skip

    def inputs(batch: int, length: int) -> Inputs:
        return {"input_ids": tokens(batch, length)}

    module = made("FastSpeech2ConformerModel", "FastSpeech2ConformerConfig", **options)
    return Case(module, inputs, {"batch": 2, "length": 11})
