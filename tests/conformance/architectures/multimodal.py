"""Models of images (or sounds) and text: pairs of towers, fusion, captions and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers

from tests.conformance.architectures.case import (
    VOCABULARY,
    Case,
    Inputs,
    architecture,
    made,
    padding,
    pixels,
    tokens,
)

LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
TEXT: dict[str, Any] = {
    **LAYERS,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 48,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION: dict[str, Any] = {**LAYERS, "image_size": 16, "patch_size": 8}
IMAGE_FIXED = {
    "pixel_values:1": "the channels of the first convolution",
    "pixel_values:2": "the model checks the height against its configuration",
    "pixel_values:3": "the model checks the width against its configuration",
}
PAIRS = {"images": 2, "texts": 3, "length": 11}
TOGETHER = {"batch": 2, "length": 11}


def ended(batch: int, length: int) -> torch.Tensor:
    """Token ids whose last is the end of text, by which some towers find it."""
    ids = tokens(batch, length)
    ids[:, -1] = 2
    return ids


def pairs(images: int, texts: int, length: int, height: int = 16, width: int = 16) -> Inputs:
    """As many images as one likes against as many texts as one likes."""
    return {
        "input_ids": ended(texts, length),
        "pixel_values": pixels(images, height, width),
        "attention_mask": padding(texts, length),
    }


def together(batch: int, length: int, height: int = 16, width: int = 16) -> Inputs:
    """Each text with its image."""
    return {
        "input_ids": tokens(batch, length),
        "attention_mask": padding(batch, length),
        "pixel_values": pixels(batch, height, width),
    }


def towers(name: str, text: dict[str, Any] | None = None, **options: Any) -> Any:
    """A model of two towers with a configuration class of its own."""
    config = getattr(transformers, f"{name}Config")(
        text_config={**TEXT, **(text or {})}, vision_config=dict(VISION), **options
    )
    return made(f"{name}Model", config)


def with_edges(
    module: Any, inputs: Callable[..., Inputs], sizes: dict[str, int], **options: Any
) -> Case:
    """A model that ignores what an image has beyond its last whole patch."""
    return Case(
        module,
        inputs,
        {**sizes, "height": 16, "width": 20},
        others={"height": (17, 21), "width": (19, 22)},
        fixed={"pixel_values:1": IMAGE_FIXED["pixel_values:1"]},
        options=options,
    )


def of_pairs(module: Any) -> Case:
    return Case(module, pairs, PAIRS, fixed=IMAGE_FIXED)


# -- towers ----------------------------------------------------------------------------------------


@architecture("multimodal")
def clip() -> Case:
    return of_pairs(towers("CLIP", projection_dim=16))


@architecture("multimodal")
def siglip() -> Case:
    return with_edges(towers("Siglip", {"projection_size": 32}), pairs, PAIRS)


@architecture("multimodal")
def chinese_clip() -> Case:
    return of_pairs(towers("ChineseCLIP", projection_dim=16))


@architecture("multimodal")
def altclip() -> Case:
    return of_pairs(towers("AltCLIP", {"project_dim": 32}, projection_dim=16))


@architecture("multimodal")
def aimv2() -> Case:
    """Every text is padded: where none is, the library drops the mask, and attention is no longer
    causal.
    """

    def inputs(images: int, texts: int, length: int, height: int = 16, width: int = 16) -> Inputs:
        drawn = pairs(images, texts, length, height, width)
        return {**drawn, "attention_mask": padding(texts + 1, length)[1:]}

    return with_edges(towers("Aimv2", projection_dim=16), inputs, PAIRS)


@architecture("multimodal")
def align() -> Case:
    vision = {
        "image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.5,
        "kernel_sizes": [3, 5], "in_channels": [32, 16], "out_channels": [16, 24],
        "strides": [1, 2], "num_block_repeats": [1, 2], "expand_ratios": [1, 4],
        "hidden_dim": 32, "pooling_type": "mean",
    }  # fmt: skip
    config = transformers.AlignConfig(
        text_config={**TEXT, "hidden_size": 32}, vision_config=vision, projection_dim=8
    )

    return Case(
        made("AlignModel", config),
        pairs,
        {**PAIRS, "height": 40, "width": 56},
        others={"height": (33, 64), "width": (41, 70)},
        fixed={"pixel_values:1": IMAGE_FIXED["pixel_values:1"]},
    )


@architecture("multimodal")
def groupvit() -> Case:
    vision = {
        **VISION, "image_size": 32, "depths": [1, 1, 1], "num_group_tokens": [6, 4, 0],
        "num_output_groups": [6, 4, 4],
    }  # fmt: skip
    config = transformers.GroupViTConfig(
        text_config=dict(TEXT), vision_config=vision, projection_dim=16,
        projection_intermediate_dim=24,
    )  # fmt: skip

    def inputs(images: int, texts: int, length: int) -> Inputs:
        return {**pairs(images, texts, length), "pixel_values": pixels(images, 32, 32)}

    return Case(made("GroupViTModel", config), inputs, PAIRS, fixed=IMAGE_FIXED)


@architecture("multimodal")
def owlvit() -> Case:
    return with_edges(towers("OwlViT", projection_dim=16), pairs, PAIRS)


@architecture("multimodal")
def clipseg() -> Case:
    config = transformers.CLIPSegConfig(
        text_config=dict(TEXT), vision_config={**VISION, "num_hidden_layers": 3},
        projection_dim=16, extract_layers=[0, 1, 2], reduce_dim=16, decoder_num_attention_heads=4,
        decoder_intermediate_size=24,
    )  # fmt: skip

    def inputs(batch: int, length: int, height: int, width: int) -> Inputs:
        return {**together(batch, length, height, width), "input_ids": ended(batch, length)}

    return with_edges(made("CLIPSegForImageSegmentation", config), inputs, TOGETHER)


@architecture("multimodal")
def xclip() -> Case:
    vision = {
        **VISION, "mit_hidden_size": 16, "mit_intermediate_size": 24, "mit_num_hidden_layers": 1,
        "mit_num_attention_heads": 2, "num_frames": 4,
    }  # fmt: skip
    config = transformers.XCLIPConfig(
        text_config=dict(TEXT), vision_config=vision, projection_dim=16,
        prompt_num_attention_heads=2,
    )  # fmt: skip

    def inputs(images: int, texts: int, length: int) -> Inputs:
        made = pairs(images, texts, length)
        return {**made, "pixel_values": torch.randn(images, 4, 3, 16, 16)}

    fixed = {
        "pixel_values:1": "the frames that position embeddings are made for",
        "pixel_values:2": "the channels of the first convolution",
        "pixel_values:3": "the model checks the height against its configuration",
        "pixel_values:4": "the model checks the width against its configuration",
    }
    return Case(made("XCLIPModel", config), inputs, PAIRS, fixed=fixed)


@architecture("multimodal")
def clap() -> Case:
    audio = {
        "window_size": 4, "num_mel_bins": 8, "spec_size": 32, "patch_size": 2,
        "patch_stride": [2, 2], "hidden_size": 32, "depths": [2, 2],
        "num_attention_heads": [2, 4], "patch_embeds_hidden_size": 16, "num_hidden_layers": 2,
    }  # fmt: skip
    config = transformers.ClapConfig(text_config=dict(TEXT), audio_config=audio, projection_dim=16)

    def inputs(sounds: int, texts: int, length: int) -> Inputs:
        return {
            "input_ids": tokens(texts, length),
            "attention_mask": padding(texts, length),
            "input_features": torch.randn(sounds, 1, 128, 8),
        }

    fixed = {
        "input_features:1": "the channels of the first convolution",
        "input_features:2": "the model folds the configured length into a square",
        "input_features:3": "the mel bins of the first batch norm",
    }
    sizes = {"sounds": 2, "texts": 3, "length": 11}
    return Case(made("ClapModel", config), inputs, sizes, fixed=fixed)


# -- fusion ----------------------------------------------------------------------------------------


@architecture("multimodal")
def blip() -> Case:
    config = transformers.BlipConfig(
        text_config={**TEXT, "encoder_hidden_size": 32}, vision_config=dict(VISION),
        projection_dim=16, image_text_hidden_size=16,
    )  # fmt: skip
    return with_edges(made("BlipForConditionalGeneration", config), together, TOGETHER)


@architecture("multimodal")
def bridgetower() -> Case:
    config = transformers.BridgeTowerConfig(
        text_config=dict(TEXT),
        vision_config={**VISION, "hidden_size": 64},
        hidden_size=32, num_attention_heads=4, num_hidden_layers=2,
    )  # fmt: skip

    return Case(made("BridgeTowerModel", config), together, TOGETHER, fixed=IMAGE_FIXED)


@architecture("multimodal")
def flava() -> Case:
    config = transformers.FlavaConfig(
        image_config=dict(VISION), text_config=dict(TEXT), multimodal_config=dict(LAYERS),
        hidden_size=32, projection_dim=16,
    )  # fmt: skip
    return Case(made("FlavaModel", config), together, TOGETHER, fixed=IMAGE_FIXED)


@architecture("multimodal")
def git() -> Case:
    module = made("GitForCausalLM", "GitConfig", **TEXT, vision_config=dict(VISION))
    return Case(module, together, TOGETHER, fixed=IMAGE_FIXED, options={"use_cache": False})


@architecture("multimodal")
def layoutlm() -> Case:
    """What follows a box's four coordinates is ignored."""

    def inputs(batch: int, length: int, columns: int) -> Inputs:
        corner = torch.randint(0, 20, (batch, length, 2))
        extent = torch.randint(1, 12, (batch, length, 2))
        more = torch.zeros(batch, length, max(columns - 4, 0), dtype=torch.int64)
        boxes = torch.cat([corner, corner + extent, more], dim=-1)
        return {
            "input_ids": tokens(batch, length),
            "bbox": boxes[..., :columns],
            "attention_mask": padding(batch, length),
        }

    options = {**TEXT, "max_2d_position_embeddings": 48, "num_labels": 5}
    module = made("LayoutLMForTokenClassification", "LayoutLMConfig", **options)
    return Case(module, inputs, {**TOGETHER, "columns": 4}, others={"columns": (5, 6)})


@architecture("multimodal")
def lxmert() -> Case:
    options = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 48, "l_layers": 1, "x_layers": 1,
        "r_layers": 1, "visual_feat_dim": 12,
    }  # fmt: skip

    def inputs(batch: int, length: int, regions: int) -> Inputs:
        return {
            "input_ids": tokens(batch, length),
            "visual_feats": torch.randn(batch, regions, 12),
            "visual_pos": torch.rand(batch, regions, 4),
            "attention_mask": padding(batch, length),
        }

    fixed = {
        "visual_feats:2": "the features of the first projection",
        "visual_pos:2": "the four coordinates of a box",
    }
    sizes = {"batch": 3, "length": 11, "regions": 5}
    return Case(made("LxmertModel", "LxmertConfig", **options), inputs, sizes, fixed=fixed)


@architecture("multimodal")
def visual_bert() -> Case:
    def inputs(batch: int, length: int, regions: int) -> Inputs:
        return {
            "input_ids": tokens(batch, length),
            "attention_mask": padding(batch, length),
            "visual_embeds": torch.randn(batch, regions, 12),
            "visual_attention_mask": padding(batch, regions),
        }

    module = made("VisualBertModel", "VisualBertConfig", **TEXT, visual_embedding_dim=12)
    fixed = {"visual_embeds:2": "the features of the first projection"}
    return Case(module, inputs, {"batch": 3, "length": 11, "regions": 5}, fixed=fixed)


# -- language models that see ----------------------------------------------------------------------

IMAGE_TOKEN = 3


def with_image(places: int) -> Any:
    """Text that holds the places of one image each; what is before and after varies."""

    def inputs(batch: int, length: int, height: int = 16, width: int = 16) -> Inputs:
        image = torch.full((batch, places), IMAGE_TOKEN)
        ids = torch.cat([tokens(batch, 1), image, tokens(batch, length)], dim=1)
        return {
            "input_ids": ids,
            "pixel_values": pixels(batch, height, width),
            "attention_mask": torch.ones_like(ids),
        }

    return inputs


@architecture("multimodal")
def llava() -> Case:
    text = transformers.LlamaConfig(**{**TEXT, "num_key_value_heads": 2})
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION), text_config=text,
        image_token_id=IMAGE_TOKEN, image_token_index=IMAGE_TOKEN, image_seq_length=4,
    )  # fmt: skip
    return Case(
        made("LlavaForConditionalGeneration", config),
        with_image(4),
        TOGETHER,
        fixed=IMAGE_FIXED,
        options={"use_cache": False},
    )


@architecture("multimodal")
def paligemma() -> Case:
    text = transformers.GemmaConfig(**{**TEXT, "num_key_value_heads": 2, "head_dim": 8})
    config = transformers.PaliGemmaConfig(
        vision_config=transformers.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=text, image_token_id=IMAGE_TOKEN, image_token_index=IMAGE_TOKEN,
        projection_dim=32, hidden_size=32, vocab_size=VOCABULARY,
    )  # fmt: skip
    pictured = with_image(4)

    def inputs(batch: int, length: int, height: int, width: int) -> Inputs:
        """The image is the prefix, which attends to all of itself."""
        drawn = pictured(batch, length, height, width)
        kinds = torch.ones_like(drawn["input_ids"])
        kinds[:, :5] = 0
        return {**drawn, "token_type_ids": kinds}

    module = made("PaliGemmaForConditionalGeneration", config)
    return with_edges(module, inputs, TOGETHER, use_cache=False)
