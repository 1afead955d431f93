"""Networks at their published configuration that transformers does not hold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Crepe(nn.Module):
    """CREPE (Kim et al., 2018): frames of 1024 samples in, the likelihood of 360 pitches out.

    ``width`` scales the channels; 32 is the "full" model. frames: float [B, 1024] -> [B, 360].
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        channels = [1, *(width * k for k in (32, 4, 4, 4, 8, 16))]
        self.convs = nn.ModuleList(
            nn.Conv1d(channels[i], channels[i + 1], 512 if i == 0 else 64, 4 if i == 0 else 1)
            for i in range(6)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(c, eps=1e-3) for c in channels[1:])
        self.classifier = nn.Linear(4 * channels[-1], 360)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        x = frames[:, None]
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.pad(x, (254, 254) if i == 0 else (31, 32))
            x = F.max_pool1d(norm(F.relu(conv(x))), 2)
        return torch.sigmoid(self.classifier(x.transpose(1, 2).flatten(1)))


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(x)))


class UNet(nn.Module):
    """U-Net (Ronneberger et al., 2015) with padded convolutions and batch norm.

    image: float [B, 3, H, W] -> [B, 2, H, W]; H and W are multiples of 16.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(5)]
        self.enter = DoubleConv(3, width)
        self.downs = nn.ModuleList(DoubleConv(widths[i], widths[i + 1]) for i in range(4))
        self.joins = nn.ModuleList(
            nn.ConvTranspose2d(widths[i + 1], widths[i], 2, stride=2) for i in (3, 2, 1, 0)
        )
        self.ups = nn.ModuleList(DoubleConv(widths[i + 1], widths[i]) for i in (3, 2, 1, 0))
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.enter(image)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(F.max_pool2d(x, 2))
        for join, up in zip(self.joins, self.ups, strict=True):
            x = up(torch.cat([skips.pop(), join(x)], dim=1))
        return self.head(x)


class Tagger(nn.Module):
    """A sequence tagger of two bidirectional LSTM layers: tokens int64 [B, T] -> [B, T, tags]."""

    def __init__(
        self, vocabulary: int = 20_000, width: int = 300, hidden: int = 512, tags: int = 17
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(2 * hidden, tags)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x, _ = self.lstm(self.embedding(tokens))
        return self.tags(x)
