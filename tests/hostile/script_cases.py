"""TorchScript archives that are changed by hand, or whose code takes all there is."""

# No postponed annotations: TorchScript reads those of the models below.

import io
import random
import re
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.hostile.mutate import damaged
from tests.torchscript import models

#: Models whose archives the fuzzers start from, with their example inputs.
SEEDS: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "Choice": (models.Choice, (torch.ones(3, 4),)),
    "Containers": (models.Containers, (torch.ones(3, 4),)),
    "Memory": (models.Memory, (torch.ones(2, 4),)),
    "Lazy": (models.Lazy, (torch.ones(2, 4),)),
    "Unrolled": (models.Unrolled, (torch.ones(2, 5, 4),)),
    "Decay": (models.Decay, (torch.ones(2, 5, 4),)),
    "Halve": (models.Halve, (torch.ones(2, 4),)),
    "Checked": (models.Checked, (torch.ones(2, 4),)),
    "Named": (models.Named, (torch.ones(2, 1),)),
    "Nested": (models.Nested, (torch.ones(3, 4), [torch.ones(3, 2), torch.ones(3, 2)])),
    "Encoder": (models.Encoder, (torch.ones(2, 3, dtype=torch.int64),)),
}


def archive(module: nn.Module) -> bytes:
    """What ``torch.jit.script(module).save`` writes."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module.eval()), file)
    return file.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    """The parts of an archive by name, in order.

    Raises:
        zipfile.BadZipFile: it is none.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def packed(parts: dict[str, bytes]) -> bytes:
    """An archive of such parts, whose checksums are right."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name, data in parts.items():
            out.writestr(name, data)
    return file.getvalue()


def seeds() -> list[bytes]:
    """The archive of every seed, which holds its own name too."""
    torch.manual_seed(0)
    found = []
    for name, (make, _) in SEEDS.items():
        parts = members(archive(make()))
        root = next(iter(parts)).partition("/")[0]
        found.append(packed({**parts, f"{root}/extra/{_SEED}": name.encode()}))
    return found


def inputs_of(data: bytes) -> tuple[Any, ...]:
    """The example inputs of the seed that an archive began as."""
    for name, part in members(data).items():
        if name.endswith(_SEED):
            return SEEDS.get(part.decode(errors="replace"), SEEDS["Decay"])[1]
    return SEEDS["Decay"][1]


_SEED = "p2m_seed"
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_NUMBERS = "0 1 -1 2 3 7 255 65536 4294967296 9223372036854775807 0.5 1e30 None True".split()
_OPS = (
    "add sub mul div matmul cat stack slice select size len append item reshape expand arange "
    "zeros ones sum mean neg relu tanh eq lt gt floordiv remainder __getitem__ view transpose "
    "unsqueeze squeeze chunk split pow abs dim list copy insert pop save from_file"
).split()
_LINES = (
    "while True:", "for i in range(9223372036854775807):", "return x", "x = torch.cat([x, x])",
)  # fmt: skip


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One part of an archive changed: words of its code, bytes of what is no code."""
    parts = members(data)
    code = [n for n in parts if n.endswith(".py")]
    if code and draw.random() < 0.8:
        name = draw.choice(code)
        text = parts[name].decode(errors="replace")
        for _ in range(draw.choice((1, 1, 2))):
            text = _changed(text, draw)
        parts[name] = text.encode()
    elif draw.random() < 0.1:
        del parts[draw.choice(sorted(parts))]
    else:
        name = draw.choice(sorted(n for n in parts if not n.endswith(".py")))
        parts[name] = damaged(parts[name], draw)
    return packed(parts)


def _changed(text: str, draw: random.Random) -> str:
    if draw.random() < 0.15:
        lines = text.splitlines(keepends=True)
        if len(lines) < 2:
            return text
        i, j = draw.sample(range(len(lines)), 2)
        way = draw.randrange(4)
        if way == 0:
            lines[i], lines[j] = lines[j], lines[i]
        elif way == 1:
            lines.insert(i, lines[j])
        elif way == 2:
            indent = lines[i][: len(lines[i]) - len(lines[i].lstrip())]
            lines.insert(i, f"{indent}{draw.choice(_LINES)}\n")
        else:
            del lines[i]
        return "".join(lines)
    tokens = _TOKEN.findall(text)
    start = next((i for i, t in enumerate(tokens) if t == "def"), 0)
    places = [i for i in range(start, len(tokens)) if tokens[i][0].isalnum() or tokens[i][0] == "_"]
    if not places:
        return text
    at = draw.choice(places)
    tokens[at] = _other(tokens, at, places, draw)
    return "".join(tokens)


def _other(tokens: list[str], at: int, places: list[int], draw: random.Random) -> str:
    """A word that may stand where another one does: a number, an op, or a name nearby."""
    if draw.random() < 0.1:
        return draw.choice((*_NUMBERS, *_OPS))
    if tokens[at][0].isdigit():
        return draw.choice(_NUMBERS)
    if at > 1 and tokens[at - 2] == "torch":
        return draw.choice(_OPS)
    near = [i for i in places if abs(i - at) < 80 and not tokens[i][0].isdigit()]
    return tokens[draw.choice(near)]


# -- code that takes all there is ------------------------------------------------------------------


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        i = 0
        while i >= 0:
            i += 1
            if i > 1000:
                i = 0
        return x + i


class Huge(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.zeros(1 << 20, 1 << 20).sum()


class Twelve(nn.Module):
    """Gigabytes that a machine may have, and nobody needs."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(3 << 20, 1 << 10).sum()


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(60):
            x = torch.cat([x, x])
        return x


class Listing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        found = [0] * (1 << 40)
        return x + len(found)


class Long(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for i in range(200):
            x = x + i
        return x


BOMBS: dict[str, type[nn.Module]] = {
    c.__name__: c for c in (Endless, Huge, Twelve, Doubling, Listing)
}


def laughing(levels: int, calls: int = 2) -> bytes:
    """Functions that call each other, each the one before it several times."""
    parts = members(archive(models.Decay()))
    (name,) = (n for n in parts if n.endswith("models.py"))
    body = ["def f0(x: Tensor) -> Tensor:\n  return torch.neg(x)\n"]
    path = "__torch__.tests.torchscript.models"
    for level in range(1, levels):
        inner = "x"
        for _ in range(calls):
            inner = f"{path}.f{level - 1}({inner}, )"
        body.append(f"def f{level}(x: Tensor) -> Tensor:\n  return {inner}\n")
    text = parts[name].decode()
    head, _, _ = text.partition("  def forward")
    call = f"  def forward(self: {path}.Decay,\n    x: Tensor) -> Tensor:\n"
    call += f"    return {path}.f{levels - 1}(x, )\n"
    parts[name] = ("".join(body[:0]) + head + call + "".join(body)).encode()
    return packed(parts)
