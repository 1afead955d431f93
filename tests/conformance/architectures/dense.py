"""Vision models that answer for places: detection, segmentation, depth, keypoints."""

from __future__ import annotations

from dataclasses import replace

import transformers

from tests.conformance.architectures.case import Case, architecture, made
from tests.conformance.architectures.vision import ENCODER, of_any_size, of_one_size

RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}


def resnet_backbone(*stages: str) -> transformers.ResNetConfig:
    return transformers.ResNetConfig(**RESNET, out_features=list(stages))


@architecture("vision")
def segformer() -> Case:
    options = {
        "depths": [1, 1], "num_encoder_blocks": 2, "hidden_sizes": [16, 24], "sr_ratios": [4, 2],
        "patch_sizes": [7, 3], "strides": [4, 2], "num_attention_heads": [1, 2],
        "mlp_ratios": [2, 2], "decoder_hidden_size": 16, "num_labels": 7,
    }  # fmt: skip
    return of_any_size(made("SegformerForSemanticSegmentation", "SegformerConfig", **options))


@architecture("vision")
def glpn() -> Case:
    options = {
        "depths": [1, 1, 1, 1], "hidden_sizes": [8, 12, 16, 24],
        "num_attention_heads": [1, 2, 2, 3], "mlp_ratios": [2, 2, 2, 2], "decoder_hidden_size": 16,
    }  # fmt: skip
    return of_any_size(
        made("GLPNForDepthEstimation", "GLPNConfig", **options), (64, 32, 128), (96, 64, 32)
    )


@architecture("vision")
def dpt() -> Case:
    options = {
        **ENCODER, "num_hidden_layers": 4, "image_size": 32, "patch_size": 8,
        "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 12, 16, 24],
        "fusion_hidden_size": 16,
    }  # fmt: skip
    module = made("DPTForDepthEstimation", "DPTConfig", **options)
    return of_any_size(module, (32, 33, 34), (36, 37, 35))


@architecture("vision")
def depth_anything() -> Case:
    backbone = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, image_size=32, patch_size=8,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, patch_size=8, reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 12, 16, 24], fusion_hidden_size=16, head_hidden_size=8,
    )  # fmt: skip
    return of_any_size(made("DepthAnythingForDepthEstimation", config), (32, 16, 48), (48, 32, 64))


@architecture("vision")
def yolos() -> Case:
    options = {**ENCODER, "image_size": [32, 48], "patch_size": 8, "num_detection_tokens": 5}
    module = made("YolosForObjectDetection", "YolosConfig", **options, num_labels=7)
    return of_any_size(module, (32, 16, 48), (48, 32, 64))


@architecture("vision")
def detr() -> Case:
    config = transformers.DetrConfig(
        backbone_config=resnet_backbone("stage4"), use_timm_backbone=False, d_model=32,
        num_queries=5, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_labels=7,
    )  # fmt: skip
    return of_any_size(made("DetrForObjectDetection", config))


@architecture("vision")
def conditional_detr() -> Case:
    config = transformers.ConditionalDetrConfig(
        backbone_config=resnet_backbone("stage4"), use_timm_backbone=False, d_model=32,
        num_queries=5, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_labels=7,
    )  # fmt: skip
    return of_any_size(made("ConditionalDetrForObjectDetection", config))


@architecture("vision")
def deformable_detr() -> Case:
    config = transformers.DeformableDetrConfig(
        backbone_config=resnet_backbone("stage2", "stage3", "stage4"), use_timm_backbone=False,
        d_model=32, num_queries=5, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_labels=7,
        num_feature_levels=3,
    )  # fmt: skip
    return of_any_size(made("DeformableDetrForObjectDetection", config))


@architecture("vision")
def rt_detr() -> Case:
    backbone = transformers.RTDetrResNetConfig(
        **RESNET, layer_type="basic", out_features=["stage2", "stage3", "stage4"]
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=32, encoder_in_channels=[16, 24, 32],
        encoder_ffn_dim=48, encoder_attention_heads=4, d_model=32, num_queries=5,
        decoder_in_channels=[32, 32, 32], decoder_ffn_dim=48, decoder_layers=2,
        decoder_attention_heads=4, num_denoising=0, num_labels=7,
    )  # fmt: skip
    module = made("RTDetrForObjectDetection", config)
    return replace(of_any_size(module, (64, 32, 128), (96, 64, 160)), gain=2.0)


@architecture("vision")
def upernet() -> Case:
    backbone = transformers.ResNetConfig(
        **RESNET, out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = transformers.UperNetConfig(
        backbone_config=backbone, hidden_size=16, auxiliary_in_channels=24, auxiliary_channels=8,
        pool_scales=[1, 2, 3], num_labels=7,
    )  # fmt: skip
    return of_any_size(made("UperNetForSemanticSegmentation", config))


@architecture("vision")
def maskformer() -> Case:
    decoder = transformers.DetrConfig(
        backbone_config=resnet_backbone("stage4"), use_timm_backbone=False, d_model=32,
        num_queries=5, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48,
    )  # fmt: skip
    config = transformers.MaskFormerConfig(
        backbone_config=resnet_backbone("stage1", "stage2", "stage3", "stage4"),
        decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, num_labels=7,
    )  # fmt: skip
    return of_any_size(made("MaskFormerModel", config))


@architecture("vision")
def mask2former() -> Case:
    backbone = resnet_backbone("stage1", "stage2", "stage3", "stage4")
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=24, encoder_layers=1, decoder_layers=2, num_attention_heads=4,
        dim_feedforward=24, num_queries=5, num_labels=7,
    )  # fmt: skip
    return of_any_size(made("Mask2FormerModel", config))


@architecture("vision")
def sam_vision() -> Case:
    options = {
        "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
        "image_size": 32, "patch_size": 4, "window_size": 3, "global_attn_indexes": [1],
        "mlp_dim": 48,
    }  # fmt: skip
    return of_one_size(made("SamVisionModel", "SamVisionConfig", **options))


@architecture("vision")
def vitpose() -> Case:
    backbone = transformers.VitPoseBackboneConfig(
        **ENCODER,
        image_size=[32, 24],
        patch_size=[8, 8],
        out_features=["stage2"],
    )
    config = transformers.VitPoseConfig(backbone_config=backbone, num_labels=7)
    return of_one_size(made("VitPoseForPoseEstimation", config), 32, 24)
