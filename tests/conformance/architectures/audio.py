"""Speech encoders and recognisers, and models of spectrograms."""

from __future__ import annotations

from typing import Any

import torch

from tests.conformance.architectures.case import (
    VOCABULARY,
    Case,
    Inputs,
    architecture,
    made,
    padding,
    tokens,
)

ENCODER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
WAVE_ENCODER: dict[str, Any] = {
    **ENCODER,
    "vocab_size": 20,
    "conv_dim": [16, 16, 24],
    "conv_stride": [5, 2, 2],
    "conv_kernel": [10, 3, 2],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
SEQ2SEQ: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
MEL = {"input_features:1": "the mel bins of the first convolution"}
MEL_LAST = {"input_features:2": "the features of the first projection"}


def wave(batch: int, length: int) -> Inputs:
    return {"input_values": torch.randn(batch, length)}


def of_waves(module: Any) -> Case:
    return Case(module, wave, {"batch": 2, "length": 500}, others={"length": (333, 741)})


@architecture("audio")
def wav2vec2() -> Case:
    return of_waves(made("Wav2Vec2ForCTC", "Wav2Vec2Config", **WAVE_ENCODER))


@architecture("audio")
def hubert() -> Case:
    options = {**WAVE_ENCODER, "conv_pos_batch_norm": True, "do_stable_layer_norm": True}
    return of_waves(made("HubertModel", "HubertConfig", **options))


@architecture("audio")
def wavlm() -> Case:
    return of_waves(made("WavLMModel", "WavLMConfig", **WAVE_ENCODER, num_buckets=32))


@architecture("audio")
def sew() -> Case:
    return of_waves(made("SEWForCTC", "SEWConfig", **WAVE_ENCODER))


@architecture("audio")
def sew_d() -> Case:
    options = {**WAVE_ENCODER, "position_buckets": 8, "max_position_embeddings": 32}
    return of_waves(made("SEWDModel", "SEWDConfig", **options))


@architecture("audio")
def unispeech() -> Case:
    options = {**WAVE_ENCODER, "feat_extract_norm": "layer", "conv_bias": True}
    return of_waves(made("UniSpeechModel", "UniSpeechConfig", **options))


@architecture("audio")
def unispeech_sat() -> Case:
    options = {**WAVE_ENCODER, "num_labels": 5, "use_weighted_layer_sum": True}
    return of_waves(made("UniSpeechSatForSequenceClassification", "UniSpeechSatConfig", **options))


@architecture("audio")
def data2vec_audio() -> Case:
    options = {**WAVE_ENCODER, "num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5}
    return of_waves(made("Data2VecAudioForCTC", "Data2VecAudioConfig", **options))


@architecture("audio")
def wav2vec2_conformer() -> Case:
    options = {**WAVE_ENCODER, "conv_depthwise_kernel_size": 7, "max_source_positions": 200}
    return of_waves(made("Wav2Vec2ConformerForCTC", "Wav2Vec2ConformerConfig", **options))


@architecture("audio")
def wav2vec2_bert() -> Case:
    options = {
        **ENCODER, "vocab_size": 20, "feature_projection_input_dim": 12,
        "conv_depthwise_kernel_size": 7, "left_max_position_embeddings": 8,
        "right_max_position_embeddings": 4,
    }  # fmt: skip

    def inputs(batch: int, length: int) -> Inputs:
        mask = padding(batch, length)
        return {"input_features": torch.randn(batch, length, 12), "attention_mask": mask}

    module = made("Wav2Vec2BertForCTC", "Wav2Vec2BertConfig", **options)
    return Case(module, inputs, {"batch": 3, "length": 21}, fixed=MEL_LAST)


@architecture("audio")
def whisper() -> Case:
    options = {
        **SEQ2SEQ, "num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 40,
    }  # fmt: skip

    def inputs(batch: int, length: int) -> Inputs:
        ids = tokens(batch, length)
        return {"input_features": torch.randn(batch, 8, 40), "decoder_input_ids": ids}

    fixed = {**MEL, "input_features:2": "the model demands thirty seconds, as configured"}
    return Case(
        made("WhisperForConditionalGeneration", "WhisperConfig", **options),
        inputs,
        {"batch": 3, "length": 11},
        fixed=fixed,
        options={"use_cache": False},
    )


@architecture("audio")
def speech_to_text() -> Case:
    options = {
        **SEQ2SEQ, "input_feat_per_channel": 8, "conv_channels": 24, "max_source_positions": 200,
        "max_target_positions": 60,
    }  # fmt: skip

    def inputs(batch: int, source: int, length: int) -> Inputs:
        return {
            "input_features": torch.randn(batch, source, 8),
            "decoder_input_ids": tokens(batch, length),
        }

    return Case(
        made("Speech2TextForConditionalGeneration", "Speech2TextConfig", **options),
        inputs,
        {"batch": 3, "source": 37, "length": 11},
        fixed=MEL_LAST,
        options={"use_cache": False},
    )


@architecture("audio")
def moonshine() -> Case:
    options = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48,
        "encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 2,
        "encoder_num_attention_heads": 4, "decoder_num_attention_heads": 4,
        "encoder_num_key_value_heads": 4, "decoder_num_key_value_heads": 4,
    }  # fmt: skip

    def inputs(batch: int, source: int, length: int) -> Inputs:
        ids = tokens(batch, length)
        return {"input_values": torch.randn(batch, source), "decoder_input_ids": ids}

    return Case(
        made("MoonshineForConditionalGeneration", "MoonshineConfig", **options),
        inputs,
        {"batch": 3, "source": 1500, "length": 11},
        others={"source": (1111, 2222)},
        options={"use_cache": False},
    )


@architecture("audio")
def speecht5() -> Case:
    options = {
        "hidden_size": 32, "encoder_layers": 2, "encoder_attention_heads": 4,
        "encoder_ffn_dim": 48, "decoder_layers": 2, "decoder_attention_heads": 4,
        "decoder_ffn_dim": 48, "vocab_size": VOCABULARY, "num_mel_bins": 8,
        "speech_decoder_prenet_units": 16, "speech_decoder_postnet_units": 16,
        "reduction_factor": 1, "conv_dim": [16, 16, 24], "conv_stride": [5, 2, 2],
        "conv_kernel": [10, 3, 2], "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4, "encoder_max_relative_position": 8,
        "max_text_positions": 60, "max_speech_positions": 300,
    }  # fmt: skip

    def inputs(batch: int, source: int, length: int) -> Inputs:
        ids = tokens(batch, length)
        return {"input_values": torch.randn(batch, source), "decoder_input_ids": ids}

    return Case(
        made("SpeechT5ForSpeechToText", "SpeechT5Config", **options),
        inputs,
        {"batch": 3, "source": 500, "length": 11},
        others={"source": (333, 741)},
        options={"use_cache": False},
    )


@architecture("audio")
def seamless_m4t() -> Case:
    options = {
        "hidden_size": 32, "vocab_size": VOCABULARY, "speech_encoder_layers": 2,
        "speech_encoder_attention_heads": 4, "speech_encoder_intermediate_size": 48,
        "feature_projection_input_dim": 12, "encoder_layers": 1, "decoder_layers": 2,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48, "conv_depthwise_kernel_size": 7, "max_source_positions": 100,
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
        "t2u_vocab_size": 30, "t2u_encoder_layers": 1, "t2u_decoder_layers": 1,
        "t2u_encoder_attention_heads": 4, "t2u_decoder_attention_heads": 4,
        "t2u_encoder_ffn_dim": 48, "t2u_decoder_ffn_dim": 48, "adaptor_kernel_size": 4,
        "adaptor_stride": 4,
    }  # fmt: skip

    def inputs(batch: int, source: int, length: int) -> Inputs:
        return {
            "input_features": torch.randn(batch, source, 12),
            "decoder_input_ids": tokens(batch, length),
        }

    return Case(
        made("SeamlessM4TForSpeechToText", "SeamlessM4TConfig", **options),
        inputs,
        {"batch": 3, "source": 29, "length": 11},
        fixed=MEL_LAST,
        options={"use_cache": False},
    )


@architecture("audio")
def parakeet() -> Case:
    options = {
        **ENCODER, "conv_kernel_size": 5, "subsampling_conv_channels": 8, "num_mel_bins": 16,
    }  # fmt: skip

    def inputs(batch: int, length: int, bins: int) -> Inputs:
        return {"input_features": torch.randn(batch, length, bins)}

    module = made("ParakeetEncoder", "ParakeetEncoderConfig", **options)
    sizes, others = {"batch": 2, "length": 61, "bins": 16}, {"bins": (15, 14)}
    return Case(module, inputs, sizes, others=others)


@architecture("audio")
def audio_spectrogram_transformer() -> Case:
    options = {
        **ENCODER, "patch_size": 8, "frequency_stride": 4, "time_stride": 4, "max_length": 40,
        "num_mel_bins": 16, "num_labels": 7,
    }  # fmt: skip

    def inputs(batch: int, length: int, bins: int) -> Inputs:
        return {"input_values": torch.randn(batch, length, bins)}

    return Case(
        made("ASTForAudioClassification", "ASTConfig", **options),
        inputs,
        {"batch": 2, "length": 40, "bins": 16},
        others={"length": (41, 42), "bins": (17, 18)},
    )


@architecture("audio")
def clap_audio() -> Case:
    options = {
        "window_size": 4, "num_mel_bins": 8, "spec_size": 32, "patch_size": 2,
        "patch_stride": [2, 2], "hidden_size": 32, "depths": [2, 2],
        "num_attention_heads": [2, 4], "patch_embeds_hidden_size": 16, "projection_dim": 16,
        "num_hidden_layers": 2,
    }  # fmt: skip

    def inputs(batch: int) -> Inputs:
        return {"input_features": torch.randn(batch, 1, 128, 8)}

    fixed = {
        "input_features:1": "the channels of the first convolution",
        "input_features:2": "the model folds the configured length into a square",
        "input_features:3": "the mel bins of the first batch norm",
    }
    module = made("ClapAudioModelWithProjection", "ClapAudioConfig", **options)
    return Case(module, inputs, {"batch": 2}, fixed=fixed)


@architecture("audio")
def musicgen() -> Case:
    options = {
        "vocab_size": 64, "num_hidden_layers": 2, "ffn_dim": 48, "num_attention_heads": 4,
        "hidden_size": 32, "num_codebooks": 2, "max_position_embeddings": 64,
        "pad_token_id": 64, "bos_token_id": 64,
    }  # fmt: skip

    def inputs(songs: int, length: int) -> Inputs:
        return {"input_ids": torch.randint(0, 64, (2 * songs, length))}

    return Case(
        made("MusicgenForCausalLM", "MusicgenDecoderConfig", **options),
        inputs,
        {"songs": 3, "length": 11},
        options={"use_cache": False},
    )
