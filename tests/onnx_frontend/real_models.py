"""Small ONNX files of real architectures, as torch's two exporters and onnxruntime's tools write
them: real structure, few channels, random weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import nn


@dataclass
class Source:
    """A module to export: its inputs by name, the names of its outputs, sizes that vary."""

    module: nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: list[str]
    dynamic: dict[str, dict[int, str]]


def export(source: Source, path: Path, opset: int, *, newer: bool, external: bool = True) -> Path:
    """Exports by the exporter based on TorchScript, or the newer one (weights beside the file)."""
    torch.manual_seed(1)
    with torch.no_grad():
        for p in source.module.parameters():
            if p.numel() > 1 and p.std() == 0:  # as initialised, weights would be equal, or hidden
                p.add_(torch.randn_like(p) * 0.1)
    args = tuple(source.inputs.values())
    options: dict[str, Any] = {"dynamic_axes": source.dynamic, "dynamo": False}
    if newer:
        shapes = tuple(source.dynamic.get(name) for name in source.inputs)
        options = {"dynamic_shapes": shapes, "dynamo": True, "external_data": external}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            source.module.eval(),
            args,
            str(path),
            input_names=list(source.inputs),
            output_names=source.outputs,
            opset_version=opset,
            verbose=False,
            **options,
        )
    return path


# -- transformers ----------------------------------------------------------------------------------


class Encoder(nn.Module):
    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        return self.bert(
            input_ids, attention_mask, token_type_ids=token_type_ids, return_dict=False
        )[:2]


def bert() -> Source:
    """As ``optimum`` names things: ``input_ids``, ``attention_mask``, ``last_hidden_state``."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=120,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        attn_implementation="eager",
    )
    ids = torch.randint(0, 120, (2, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    sizes = {0: "batch_size", 1: "sequence_length"}
    outputs = ["last_hidden_state", "pooler_output"]
    return Source(Encoder(BertModel(config)), inputs, outputs, dict.fromkeys(inputs, sizes))


class Plain(nn.Module):
    """A model of transformers with one input, whose outputs come as a tuple."""

    def __init__(self, model: nn.Module, count: int) -> None:
        super().__init__()
        self.model, self.count = model, count

    def forward(self, x: torch.Tensor) -> Any:
        out = self.model(x, return_dict=False)[: self.count]
        return out[0] if self.count == 1 else out


def vit() -> Source:
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        attn_implementation="eager",
    )
    inputs = {"pixel_values": torch.randn(2, 3, 32, 32)}
    outputs = ["last_hidden_state", "pooler_output"]
    return Source(Plain(ViTModel(config), 2), inputs, outputs, {"pixel_values": {0: "batch_size"}})


def llama() -> Source:
    """Rotary positions, two heads of keys for four of queries, ``scaled_dot_product_attention``."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=100,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=96,
        use_cache=False,
    )
    inputs = {"input_ids": torch.randint(0, 100, (2, 7))}
    sizes = {"input_ids": {0: "batch", 1: "length"}}
    return Source(Plain(LlamaForCausalLM(config), 1), inputs, ["logits"], sizes)


def whisper_encoder() -> Source:
    from transformers import WhisperConfig, WhisperModel

    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=60,
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=16,
        max_source_positions=30,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        attn_implementation="eager",
    )
    encoder = WhisperModel(config).get_encoder()
    inputs = {"input_features": torch.randn(2, 16, 60)}
    dynamic = {"input_features": {0: "batch_size"}}
    return Source(Plain(encoder, 1), inputs, ["last_hidden_state"], dynamic)


# -- a tagger and a segmenter ----------------------------------------------------------------------


class Tagger(nn.Module):
    """Words to scores of tags through two bidirectional LSTMs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.lstm = nn.LSTM(12, 10, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 7))

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x, _ = self.lstm(self.embedding(words))
        return self.head(x).log_softmax(-1)


def tagger() -> Source:
    torch.manual_seed(0)
    inputs = {"words": torch.randint(0, 50, (3, 8))}
    return Source(Tagger(), inputs, ["tags"], {"words": {0: "batch", 1: "length"}})


class DoubleConv(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(x)))


class Up(nn.Module):
    """Doubles the size, pads to that of the skip, joins the two."""

    def __init__(self, inputs: int, outputs: int, learned: bool) -> None:
        super().__init__()
        self.up: nn.Module = (
            nn.ConvTranspose2d(inputs, inputs // 2, 2, stride=2)
            if learned
            else nn.Sequential(nn.Upsample(scale_factor=2.0), nn.Conv2d(inputs, inputs // 2, 1))
        )
        self.conv = DoubleConv(inputs, outputs)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = self.up(x)
        high, wide = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        x = nn.functional.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return self.conv(torch.cat([skip, x], dim=1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inc = DoubleConv(3, 8)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(8, 16))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(16, 32))
        self.up1 = Up(32, 16, learned=True)
        self.up2 = Up(16, 8, learned=False)
        self.outc = nn.Conv2d(8, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        a = self.inc(image)
        b = self.down1(a)
        return self.outc(self.up2(self.up1(self.down2(b), b), a))


def unet() -> Source:
    torch.manual_seed(0)
    module = settled(UNet(), torch.randn(4, 3, 24, 24))
    sizes = {0: "batch", 2: "height", 3: "width"}
    return Source(module, {"image": torch.randn(2, 3, 20, 28)}, ["mask"], {"image": sizes})


def settled(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """The module with running statistics of its batch norms that are not those of a new one."""
    module.train()
    with torch.no_grad():
        module(x)
    return module.eval()


# -- a detector ------------------------------------------------------------------------------------


class ConvBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.bn(self.conv(x)))


class CrossStage(nn.Module):
    """Half of the channels goes through a residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.cv1, self.cv2 = ConvBlock(channels, channels), ConvBlock(3 * half, channels)
        self.m = nn.ModuleList([nn.Sequential(ConvBlock(half, half, 3), ConvBlock(half, half, 3))])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = list(self.cv1(x).chunk(2, 1))
        for block in self.m:
            parts.append(parts[-1] + block(parts[-1]))
        return self.cv2(torch.cat(parts, 1))


class Detect(nn.Module):
    """Boxes from distances to the sides (distributions over four bins) and scores of classes."""

    def __init__(self, channels: tuple[int, ...], classes: int = 3) -> None:
        super().__init__()
        self.bins = 4
        self.box = nn.ModuleList([nn.Conv2d(c, 4 * self.bins, 1) for c in channels])
        self.cls = nn.ModuleList([nn.Conv2d(c, classes, 1) for c in channels])
        self.register_buffer("steps", torch.arange(self.bins, dtype=torch.float32))

    def forward(self, maps: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        boxes, scores = [], []
        for i, (x, box, cls) in enumerate(zip(maps, self.box, self.cls, strict=True)):
            b, _, h, w = x.shape
            sides = box(x).view(b, 4, self.bins, h * w).softmax(2)
            sides = torch.einsum("bskn,k->bsn", sides, self.steps)
            ys = torch.arange(h, device=x.device) + 0.5
            xs = torch.arange(w, device=x.device) + 0.5
            grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")).view(1, 2, h * w)
            corners = torch.cat([grid - sides[:, :2], grid + sides[:, 2:]], 1)
            boxes.append(corners * float(4 * 2**i))
            scores.append(cls(x).flatten(2).sigmoid())
        return torch.cat(boxes, 2).transpose(1, 2), torch.cat(scores, 2)


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvBlock(3, 8, 3, 2), ConvBlock(8, 16, 3, 2))
        self.stage1, self.down = CrossStage(16), ConvBlock(16, 16, 3, 2)
        self.stage2 = CrossStage(16)
        self.up = nn.Upsample(scale_factor=2)
        self.neck = ConvBlock(32, 16, 3)
        self.detect = Detect((16, 16))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a = self.stage1(self.stem(images))
        b = self.stage2(self.down(a))
        return self.detect([self.neck(torch.cat([self.up(b), a], 1)), b])


def detector() -> Source:
    torch.manual_seed(0)
    module = settled(Detector(), torch.randn(4, 3, 32, 32))
    sizes = {0: "batch", 2: "height", 3: "width"}
    inputs = {"images": torch.randn(2, 3, 32, 48)}
    return Source(module, inputs, ["boxes", "scores"], {"images": sizes})


def with_suppression(path: Path) -> Path:
    """Puts NonMaxSuppression behind a detector, as deployment tools do, and gathers its boxes."""
    model = onnx.load(path)
    graph = model.graph
    constants = {
        "most": np.array([20], np.int64),
        "overlap": np.array([0.5], np.float32),
        "least_score": np.array([0.4], np.float32),
        "box_columns": np.array([0, 2], np.int64),
    }
    graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in constants.items())
    chosen = ["boxes", "scores", "most", "overlap", "least_score"]
    graph.node.extend(
        [
            helper.make_node("NonMaxSuppression", chosen, ["selected"], "/nms/NonMaxSuppression"),
            helper.make_node("Gather", ["selected", "box_columns"], ["at"], "/nms/Gather", axis=1),
            helper.make_node("GatherND", ["boxes", "at"], ["selected_boxes"], "/nms/GatherND"),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("selected", TensorProto.INT64, ["found", 3]),
            helper.make_tensor_value_info("selected_boxes", TensorProto.FLOAT, ["found", 4]),
        ]
    )
    onnx.save(model, path)
    return path


# -- quantized -------------------------------------------------------------------------------------


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBlock(3, 8, 3, 2)
        self.block = ConvBlock(8, 8, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        x = x + self.block(x)
        return self.fc(self.pool(x).flatten(1))


def classifier() -> Source:
    torch.manual_seed(0)
    module = settled(Classifier(), torch.randn(4, 3, 16, 16))
    return Source(module, {"image": torch.randn(2, 3, 16, 16)}, ["logits"], {"image": {0: "batch"}})


def quantized(path: Path, *, per_channel: bool) -> Path:
    """Static quantization by onnxruntime, calibrated on noise: QuantizeLinear and DequantizeLinear
    around every op."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Noise(CalibrationDataReader):
        def __init__(self) -> None:
            draw = np.random.default_rng(0)
            self.rows = iter([draw.standard_normal((2, 3, 16, 16)) for _ in range(4)])

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.rows, None)
            return None if row is None else {"image": row.astype(np.float32)}

    prepared, out = path.with_suffix(".prepared.onnx"), path.with_suffix(".int8.onnx")
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(out), Noise(), quant_format=QuantFormat.QDQ, per_channel=per_channel
    )
    return out


def run_onnx(path: Path, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feed)))
