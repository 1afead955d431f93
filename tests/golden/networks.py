"""Networks written for the golden listings: a U-Net, a recurrent tagger, a pitch estimator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class DoubleConv(nn.Module):
    """Two convolutions with group norm and SiLU, and a residual path."""

    def __init__(self, in_channels: int, out_channels: int, groups: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + self.skip(x)


class Down(nn.Module):
    """Halves height and width, then convolves."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pool = nn.Conv2d(in_channels, in_channels, 3, stride=2, padding=1)
        self.block = DoubleConv(in_channels, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(self.pool(x))


class Up(nn.Module):
    """Doubles height and width, joins the skip connection, convolves."""

    def __init__(self, in_channels: int, out_channels: int, learned: bool) -> None:
        super().__init__()
        self.learned = learned
        self.up = (
            nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
            if learned
            else nn.Conv2d(in_channels, out_channels, 3, padding=1)
        )
        self.block = DoubleConv(2 * out_channels, out_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        if not self.learned:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.up(x)
        return self.block(torch.cat([skip, x], dim=1))


class UNet(nn.Module):
    """A U-Net of three resolutions; images in, maps of the same size out."""

    def __init__(self, in_channels: int = 3, out_channels: int = 2, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.enter = DoubleConv(width, width)
        self.downs = nn.ModuleList([Down(width, 2 * width), Down(2 * width, 4 * width)])
        self.middle = DoubleConv(4 * width, 4 * width)
        self.ups = nn.ModuleList(
            [Up(4 * width, 2 * width, learned=True), Up(2 * width, width, learned=False)]
        )
        self.norm = nn.GroupNorm(4, width)
        self.head = nn.Conv2d(width, out_channels, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.enter(self.stem(image))
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for up in self.ups:
            x = up(x, skips.pop())
        return self.head(F.silu(self.norm(x)))


class Tagger(nn.Module):
    """Embeds tokens, reads them both ways with two LSTM layers, gives a score for each tag."""

    def __init__(
        self, vocabulary: int = 60, width: int = 12, hidden: int = 10, tags: int = 7
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.1)
        self.hidden = nn.Linear(2 * hidden, hidden)
        self.tags = nn.Linear(hidden, tags)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x, _ = self.lstm(self.embedding(tokens))
        return self.tags(torch.tanh(self.hidden(self.dropout(x))))


class Pitch(nn.Module):
    """A pitch estimator of the CREPE kind: 1024 samples of audio in, activations of pitch bins out.

    Six convolutions along time (written in two dimensions, as the published weights are), each with
    ReLU, *then* batch norm, then max pooling; one linear layer reads what is left.
    """

    CHANNELS = (1, 16, 8, 8, 8, 12, 16)

    def __init__(self, bins: int = 36) -> None:
        super().__init__()
        for i in range(1, 7):
            kernel, stride = ((512, 1), (4, 1)) if i == 1 else ((64, 1), (1, 1))
            conv = nn.Conv2d(self.CHANNELS[i - 1], self.CHANNELS[i], kernel, stride)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"conv{i}_BN", nn.BatchNorm2d(self.CHANNELS[i], eps=1e-3))
        self.classifier = nn.Linear(4 * self.CHANNELS[-1], bins)

    def layer(self, x: torch.Tensor, i: int) -> torch.Tensor:
        x = F.pad(x, (0, 0, 254, 254) if i == 1 else (0, 0, 31, 32))
        x = F.relu(getattr(self, f"conv{i}")(x))
        return F.max_pool2d(getattr(self, f"conv{i}_BN")(x), (2, 1), (2, 1))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        x = frames[:, None, :, None]
        for i in range(1, 7):
            x = self.layer(x, i)
        x = x.permute(0, 2, 1, 3).reshape(-1, self.classifier.in_features)
        return torch.sigmoid(self.classifier(x))
