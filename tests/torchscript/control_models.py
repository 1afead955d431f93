"""Small scripted modules whose control flow sizes or data decide."""

# No postponed annotations: TorchScript reads them.

import torch
from torch import Tensor, nn


class Refuses(nn.Module):
    """Errors that sizes and data decide, with messages that name sizes."""

    def forward(self, x: Tensor) -> Tensor:
        if x.size(1) % 4 != 0:
            raise RuntimeError(f"width {x.size(1)} is no multiple of {4}")
        assert x.size(0) < 100, "batch {too} large"
        if bool((x > 100).any()):
            raise ValueError(f"too large: {x.shape}")
        return x.view(x.size(0), -1, 4).sum(-1)


class Nonempty(nn.Module):
    """An error over a size that data decide."""

    def forward(self, x: Tensor) -> Tensor:
        y = x[torch.where(x.amax(1) > 0)[0]]
        if y.size(0) == 0:
            raise ValueError("nothing kept")
        return y


class Gate(nn.Module):
    """A submodule that only checks."""

    def forward(self, x: Tensor) -> None:
        if bool(torch.isnan(x).any()):
            raise ValueError("NaN")
        if bool((x < -50).any()):
            raise ValueError("too small")


class Gated(nn.Module):
    """A checking submodule, and an error in a loop over time."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        self.l = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.gate(x)
        h = torch.zeros(x.size(0), 3)
        for t in range(x.size(1)):
            h = torch.tanh(self.l(x[:, t]) + h)
            if bool((h > 0.9999).all()):
                raise ValueError("saturated")
        return h


class Writes(nn.Module):
    """In-place writes in a loop: to a new tensor, and to one that is also carried."""

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(x.size(1), x.size(0))
        total = torch.zeros(x.size(0))
        for t in range(x.size(1)):
            total += x[:, t]
            out[t] = total * (t + 1)
        return out


class WritesIf(nn.Module):
    """In-place writes, and numbers, in branches that data decide."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.clone()
        scale = 0.5
        n = 1
        if bool(x.sum() > 0):
            y[0] += 1.0
            y.mul_(2)
            n += 2
        else:
            scale = 3.0
        return y * scale, torch.tensor(n)


class WritesViews(nn.Module):
    """A branch that writes to a view made before, and to what that is a view of."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        row = y[0]
        if bool(x.sum() > 0):
            row += 1.0
            y.mul_(2)
        return y


class Lists(nn.Module):
    """Lists that branches extend, by as many items or not."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        outs: list[Tensor] = []
        few: list[Tensor] = []
        for i in range(3):
            if bool(x.sum() > i):
                outs.append(x + i)
                few.append(x * i)
            else:
                outs.append(x * i)
        few.append(x)
        return torch.stack(outs), torch.cat(few)


class Greedy(nn.Module):
    """A decoder: a list that grows until data end the loop, and a sequence that does."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.cell = nn.GRUCell(4, 4)
        self.out = nn.Linear(4, 10)
        self.longest = 12

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        token = torch.zeros(h.size(0), dtype=torch.long)
        done = torch.zeros(h.size(0), dtype=torch.bool)
        ids = token.unsqueeze(1)
        tokens: list[Tensor] = []
        for _ in range(self.longest):
            h = self.cell(self.embedding(token), h)
            token = self.out(h).argmax(-1)
            done = done | (token == 3)
            tokens.append(token)
            ids = torch.cat([ids, token.unsqueeze(1)], 1)
            if bool(done.all()):
                break
        return torch.stack(tokens, 1), ids


class Suppression(nn.Module):
    """Boxes that overlap a better one are left out: ``continue`` and a list of numbers."""

    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        order = torch.argsort(scores, descending=True)
        boxes = boxes[order]
        gone = torch.zeros(boxes.size(0), dtype=torch.bool)
        keep: list[int] = []
        for i in range(boxes.size(0)):
            if bool(gone[i]):
                continue
            keep.append(i)
            gone = gone | ((boxes[i] - boxes).abs().sum(-1) < 2.0)
        return order[torch.tensor(keep)]


class BreaksAtOne(nn.Module):
    """As libraries write it: the last box ends the loop, ``order[0]`` is a view of what remains."""

    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        order = scores.argsort(descending=True)
        keep: list[Tensor] = []
        while order.numel() > 0:
            i = order[0]
            keep.append(i)
            if order.numel() == 1:
                break
            rest = order[1:]
            order = rest[(boxes[i] - boxes[rest]).abs().sum(-1) >= 2.0]
        return torch.stack(keep)


class Pairs(nn.Module):
    """Every box against those after it: a loop that begins at another one's index."""

    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        order = scores.argsort(descending=True)
        keep = torch.ones(boxes.size(0), dtype=torch.bool)
        for a in range(boxes.size(0)):
            i = order[a]
            if bool(keep[i]):
                near = (boxes[i] - boxes).abs().sum(-1) < 2.0
                for b in range(a + 1, boxes.size(0)):
                    j = order[b]
                    if bool(near[j]):
                        keep[j] = False
        return keep


class Shrinking(nn.Module):
    """The same by a sequence that becomes shorter until nothing is left."""

    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        order = torch.argsort(scores, descending=True)
        keep: list[Tensor] = []
        while order.numel() > 0:
            i = order[0]
            keep.append(i)
            rest = order[1:]
            order = rest[(boxes[i] - boxes[rest]).abs().sum(-1) >= 2.0]
        return torch.stack(keep)


class Recurrence(nn.Module):
    """A recurrence as one writes it for TorchScript: ``unbind``, ``+=``, backwards too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inputs = x.unbind(1)
        h = torch.zeros(x.size(0), 4)
        outs: list[Tensor] = []
        for i in range(len(inputs)):
            h = torch.tanh(inputs[i] + h @ self.weight)
            outs += [h]
        back: list[Tensor] = []
        for t in range(x.size(1) - 1, -1, -1):
            h = h * 0.5 + x[:, t]
            back.append(h)
        back.reverse()
        return torch.stack(outs), torch.stack(back, 1)


class Counts(nn.Module):
    """Numbers that data change from round to round."""

    def forward(self, ids: Tensor) -> Tensor:
        last = 0
        out: list[int] = []
        for i in range(ids.size(0)):
            t = int(ids[i])
            if t != last and t != 0:
                out.append(t)
            last = t
        return torch.tensor(out)


class Bisection(nn.Module):
    """Floats that data choose, in a loop of known count."""

    def forward(self, x: Tensor) -> Tensor:
        low, high = 0.0, 10.0
        for _ in range(8):
            middle = (low + high) / 2
            if bool((x * middle).sum() > 20.0):
                high = middle
            else:
                low = middle
        return x * low


class Packed(nn.Module):
    """A packed batch through a bidirectional LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        out, (h, _) = self.lstm(packed)
        y, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
        return y, h


class OnGpu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(x.size(1), device=torch.device("cuda:0")).to(x.device)
