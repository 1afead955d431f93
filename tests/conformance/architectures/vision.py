"""Vision models: transformers, convolution networks, hierarchies, detection and segmentation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from tests.conformance.architectures.case import Case, Inputs, architecture, ids, made, pixels

FIXED = {
    "pixel_values:1": "the channels of the first convolution",
    "pixel_values:2": "the model checks the height against its configuration",
    "pixel_values:3": "the model checks the width against its configuration",
}
VIDEO_FIXED = {
    "pixel_values:2": "the channels of the first convolution",
    "pixel_values:3": "the height that position embeddings are made for",
    "pixel_values:4": "the width that position embeddings are made for",
}
CHANNELS = {"pixel_values:1": FIXED["pixel_values:1"]}
ENCODER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


def image(batch: int, height: int, width: int) -> Inputs:
    return {"pixel_values": pixels(batch, height, width)}


def of_one_size(module: nn.Module, height: int = 32, width: int = 0) -> Case:
    """A model that takes images of its configuration's size only."""

    def inputs(batch: int) -> Inputs:
        return image(batch, height, width or height)

    return Case(module, inputs, {"batch": 2}, fixed=FIXED)


def of_any_size(
    module: nn.Module,
    height: tuple[int, ...] = (64, 33, 130),
    width: tuple[int, ...] = (96, 57, 129),
    **options: Any,
) -> Case:
    """A model that takes images of any size: the example's comes first, others to try follow."""
    sizes = {"batch": 2, "height": height[0], "width": width[0]}
    others = {"height": height[1:], "width": width[1:]}
    return Case(module, image, sizes, others=others, fixed=CHANNELS, options=options)


# -- plain transformers ----------------------------------------------------------------------------


@architecture("vision")
def vit() -> Case:
    options = {**ENCODER, "image_size": 32, "patch_size": 8}
    return of_one_size(made("ViTForImageClassification", "ViTConfig", **options, num_labels=7))


@architecture("vision")
def deit() -> Case:
    options = {**ENCODER, "image_size": 32, "patch_size": 8, "num_labels": 7}
    return of_one_size(made("DeiTForImageClassificationWithTeacher", "DeiTConfig", **options))


@architecture("vision")
def beit() -> Case:
    options = {**ENCODER, "image_size": 32, "patch_size": 8, "use_relative_position_bias": True}
    module = made("BeitForImageClassification", "BeitConfig", **options, num_labels=7)
    return of_any_size(module, (32, 16, 48), (48, 24, 64))


@architecture("vision")
def dinov2() -> Case:
    options = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    module = made("Dinov2Model", "Dinov2Config", **options, image_size=32, patch_size=8)
    return of_any_size(module, (32, 16, 48), (48, 8, 64))


@architecture("vision")
def dinov3_vit() -> Case:
    module = made("DINOv3ViTModel", "DINOv3ViTConfig", **ENCODER, patch_size=8, use_gated_mlp=True)
    return of_any_size(module, (32, 16, 48), (48, 8, 64))


@architecture("vision")
def ijepa() -> Case:
    return of_one_size(made("IJepaModel", "IJepaConfig", **ENCODER, image_size=32, patch_size=8))


@architecture("vision")
def vit_mae() -> Case:
    options = {
        **ENCODER,
        "image_size": 32,
        "patch_size": 8,
        "decoder_hidden_size": 16,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 24,
        "mask_ratio": 0.5,
    }

    def inputs(batch: int) -> Inputs:
        return {**image(batch, 32, 32), "noise": torch.rand(batch, 16)}

    fixed = {**FIXED, "noise:1": "one number a patch, of which there are as many as configured"}
    return Case(
        made("ViTMAEForPreTraining", "ViTMAEConfig", **options), inputs, {"batch": 2}, fixed=fixed
    )


@architecture("vision")
def vitdet() -> Case:
    options = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "pretrain_image_size": 32,
        "patch_size": 8,
        "window_size": 2,
        "window_block_indices": [0],
        "residual_block_indices": [1],
        "use_relative_position_embeddings": True,
    }
    return of_any_size(made("VitDetModel", "VitDetConfig", **options), (32, 48, 56), (48, 64, 40))


@architecture("vision")
def videomae() -> Case:
    options = {
        **ENCODER, "image_size": 16, "patch_size": 8, "num_frames": 6, "tubelet_size": 3,
    }  # fmt: skip

    def inputs(batch: int, frames: int) -> Inputs:
        return {"pixel_values": torch.randn(batch, frames, 3, 16, 16)}

    module = made("VideoMAEForVideoClassification", "VideoMAEConfig", **options, num_labels=7)
    sizes, others = {"batch": 2, "frames": 6}, {"frames": (7, 8)}
    return Case(module, inputs, sizes, others=others, fixed=VIDEO_FIXED)


@architecture("vision")
def timesformer() -> Case:
    options = {**ENCODER, "image_size": 16, "patch_size": 8, "num_frames": 4, "num_labels": 7}

    def inputs(batch: int, frames: int, height: int, width: int) -> Inputs:
        return {"pixel_values": torch.randn(batch, frames, 3, height, width)}

    module = made("TimesformerForVideoClassification", "TimesformerConfig", **options)
    return Case(
        module,
        inputs,
        {"batch": 2, "frames": 4, "height": 16, "width": 20},
        others={"frames": (6, 8), "height": (17, 32), "width": (19, 22)},
        fixed={"pixel_values:2": VIDEO_FIXED["pixel_values:2"]},
    )


@architecture("vision")
def imagegpt() -> Case:
    options = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 99}
    module = made("ImageGPTForCausalImageModeling", "ImageGPTConfig", **options)
    return Case(module, ids, {"batch": 3, "length": 11}, options={"use_cache": False})


# -- windows and hierarchies -----------------------------------------------------------------------

SWIN: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}


@architecture("vision")
def swin() -> Case:
    module = made("SwinForImageClassification", "SwinConfig", **SWIN, num_labels=7)
    return of_any_size(module, (32, 20, 46), (48, 22, 34))


@architecture("vision")
def swinv2() -> Case:
    module = made("Swinv2ForImageClassification", "Swinv2Config", **SWIN, num_labels=7)
    return of_any_size(module, (32, 20, 46), (48, 22, 34))


@architecture("vision")
def swin2sr() -> Case:
    options = {
        "image_size": 16, "embed_dim": 16, "depths": [2], "num_heads": [2], "window_size": 4,
    }  # fmt: skip
    module = made("Swin2SRForImageSuperResolution", "Swin2SRConfig", **options)
    return of_any_size(module, (16, 12, 20), (24, 8, 32))


@architecture("vision")
def hiera() -> Case:
    options = {
        "embed_dim": 16, "image_size": [32, 32], "patch_size": [3, 3], "patch_stride": [2, 2],
        "patch_padding": [1, 1], "depths": [1, 1], "num_heads": [1, 2], "num_query_pool": 1,
        "masked_unit_size": [4, 4], "masked_unit_attention": [True, False],
    }  # fmt: skip
    return of_one_size(made("HieraForImageClassification", "HieraConfig", **options, num_labels=7))


@architecture("vision")
def pvt() -> Case:
    options = {
        "image_size": 64, "depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32],
        "num_attention_heads": [1, 2, 3, 4], "mlp_ratios": [2, 2, 2, 2],
    }  # fmt: skip
    module = made("PvtForImageClassification", "PvtConfig", **options, num_labels=7)
    return of_any_size(module, (64, 66, 67), (65, 66, 67))


@architecture("vision")
def pvt_v2() -> Case:
    options = {
        "depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32],
        "num_attention_heads": [1, 2, 3, 4], "mlp_ratios": [2, 2, 2, 2], "linear_attention": True,
    }  # fmt: skip
    module = made("PvtV2ForImageClassification", "PvtV2Config", **options, num_labels=7)
    return of_any_size(module)


@architecture("vision")
def cvt() -> Case:
    options = {
        "embed_dim": [8, 16, 24], "num_heads": [1, 2, 3], "depth": [1, 2, 3],
    }  # fmt: skip
    module = made("CvtForImageClassification", "CvtConfig", **options, num_labels=7)
    return of_any_size(module)


@architecture("vision")
def focalnet() -> Case:
    options = {
        "image_size": 32, "embed_dim": 16, "depths": [1, 1], "hidden_sizes": [16, 32],
        "focal_levels": [2, 2], "focal_windows": [3, 3],
    }  # fmt: skip
    module = made("FocalNetForImageClassification", "FocalNetConfig", **options, num_labels=7)
    return of_any_size(module, (32, 16, 45), (48, 33, 64))


@architecture("vision")
def levit() -> Case:
    options = {
        "image_size": 64, "hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 3, 4],
        "depths": [1, 1, 1], "key_dim": [8, 8, 8],
    }  # fmt: skip
    module = made("LevitForImageClassification", "LevitConfig", **options, num_labels=7)
    return of_any_size(module, (64, 62, 63), (60, 61, 59))


@architecture("vision")
def mobilevit() -> Case:
    options = {
        "image_size": 64, "hidden_sizes": [16, 24, 32], "num_attention_heads": 4,
        "neck_hidden_sizes": [8, 8, 12, 16, 20, 24, 32],
    }  # fmt: skip
    module = made("MobileViTForImageClassification", "MobileViTConfig", **options, num_labels=7)
    return replace(of_any_size(module, (64, 70, 128), (96, 65, 120)), gain=7.0)


@architecture("vision")
def mobilevitv2() -> Case:
    options = {"image_size": 64, "width_multiplier": 0.125, "n_attn_blocks": [1, 1, 1]}
    module = made("MobileViTV2ForImageClassification", "MobileViTV2Config", **options, num_labels=7)
    return replace(of_any_size(module, (64, 70, 128), (96, 65, 120)), gain=8.0)


@architecture("vision")
def swiftformer() -> Case:
    options = {"depths": [1, 1, 1, 1], "embed_dims": [8, 12, 16, 20], "mlp_ratio": 2}
    module = made("SwiftFormerForImageClassification", "SwiftFormerConfig", **options, num_labels=7)
    return of_any_size(module)


@architecture("vision")
def poolformer() -> Case:
    options = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 12, 16, 20], "mlp_ratio": 2.0}
    module = made("PoolFormerForImageClassification", "PoolFormerConfig", **options, num_labels=7)
    return of_any_size(module)


# -- convolution networks --------------------------------------------------------------------------


@architecture("vision")
def convnext() -> Case:
    options = {"hidden_sizes": [8, 16, 24], "depths": [1, 2, 1], "num_stages": 3, "num_labels": 7}
    return of_any_size(made("ConvNextForImageClassification", "ConvNextConfig", **options))


@architecture("vision")
def convnextv2() -> Case:
    options = {"hidden_sizes": [8, 16, 24], "depths": [1, 2, 1], "num_stages": 3, "num_labels": 7}
    return of_any_size(made("ConvNextV2ForImageClassification", "ConvNextV2Config", **options))


@architecture("vision")
def resnet() -> Case:
    options = {"embedding_size": 8, "hidden_sizes": [16, 24], "depths": [2, 1], "num_labels": 7}
    return of_any_size(made("ResNetForImageClassification", "ResNetConfig", **options))


@architecture("vision")
def regnet() -> Case:
    options = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "groups_width": 8}
    module = made("RegNetForImageClassification", "RegNetConfig", **options, num_labels=7)
    return of_any_size(module)


@architecture("vision")
def bit() -> Case:
    options = {
        "embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2], "num_groups": 4,
        "global_padding": "SAME",
    }  # fmt: skip
    module = made("BitForImageClassification", "BitConfig", **options, num_labels=7)
    return of_any_size(module)


@architecture("vision")
def mobilenet_v1() -> Case:
    options = {"depth_multiplier": 0.25, "num_labels": 7}
    module = made("MobileNetV1ForImageClassification", "MobileNetV1Config", **options)
    return replace(of_any_size(module), gain=1.7)


@architecture("vision")
def mobilenet_v2() -> Case:
    options = {"depth_multiplier": 0.25, "num_labels": 7}
    return of_any_size(made("MobileNetV2ForImageClassification", "MobileNetV2Config", **options))


@architecture("vision")
def efficientnet() -> Case:
    options = {
        "image_size": 64, "width_coefficient": 0.5, "depth_coefficient": 0.5,
        "kernel_sizes": [3, 5, 3], "in_channels": [32, 16, 24], "out_channels": [16, 24, 40],
        "strides": [1, 2, 2], "num_block_repeats": [1, 2, 1], "expand_ratios": [1, 6, 6],
        "hidden_dim": 640, "num_labels": 7,
    }  # fmt: skip
    module = made("EfficientNetForImageClassification", "EfficientNetConfig", **options)
    return replace(of_any_size(module), gain=8.0)
