"""TorchScript archives that are broken, that lie, or whose code would take all there is."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import SourceError
from pytorch_to_mlx.sources.torchscript import control, load
from pytorch_to_mlx.sources.torchscript.graphs import source_line
from tests.hostile import script_cases
from tests.hostile.foreign import bounds, converts, direct
from tests.torchscript import models

Parts = dict[str, bytes]
SHAPES = ("--shapes", "x=2x3x4")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are tried in this process: a child for each would take longer than all else."""
    monkeypatch.setattr(load, "attempt", direct)


class Weighted(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.register_buffer("scale", torch.rand(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear(x)) * self.scale


@pytest.fixture(scope="module")
def good() -> bytes:
    torch.manual_seed(0)
    return script_cases.archive(Weighted())


def assert_same_as_script(path: Path, package: Path) -> None:
    """The package gives what the archive itself gives, in the same places."""
    x = torch.randn(3, 3, 4)
    with torch.no_grad():
        wanted = torch.jit.load(str(path))(x).numpy()
    got = np.array(p2m.load(package)(x.numpy()))
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def _member(parts: Parts, end: str) -> str:
    return next(n for n in parts if n.endswith(end))


def _replaced(end: str, change: Callable[[bytes], bytes]) -> Callable[[Parts], Parts]:
    return lambda parts: {n: change(d) if n.endswith(end) else d for n, d in parts.items()}


BROKEN: dict[str, Callable[[Parts], Parts]] = {
    "no code": lambda parts: {n: d for n, d in parts.items() if not n.endswith(".py")},
    "no pickle of tensors": lambda parts: {n: d for n, d in parts.items() if "data.pkl" not in n},
    "a tensor is missing": lambda parts: {n: d for n, d in parts.items() if "data/0" not in n},
    "a tensor is short": _replaced("data/0", lambda d: d[:5]),
    "a pickle that calls": _replaced("data.pkl", lambda d: b"cos\nsystem\n(S'true'\ntR."),
    "a pickle that never ends": _replaced("data.pkl", lambda d: d[:-1]),
    "a pickle of lists in lists": _replaced("data.pkl", lambda d: b"]" * 10**6 + b"."),
    "a memo of gigabytes": _replaced("data.pkl", lambda d: b"\x80\x02Nr\xff\xff\xff\x7f."),
    "a pickle of no module": _replaced("data.pkl", lambda d: b"\x80\x02K\x01."),
    "constants that call": _replaced("constants.pkl", lambda d: b"cos\nsystem\n(S'true'\ntR."),
    "code that is no code": _replaced(".py", lambda d: b"\xff\xfe" + d),
    "code in brackets": _replaced(".py", lambda d: b"(" * 100_000),
    "code of Python": _replaced(".py", lambda d: b"import os\nos.system('true')\n" + d),
    "a version of the future": _replaced("/version", lambda d: b"999999\n"),
    "a version that is none": _replaced("/version", lambda d: b"x"),
    "an op that nobody knows": lambda parts: _swapped(parts, b"torch.relu(", b"torch.evil("),
    "an op of another library": lambda parts: _swapped(parts, b"torch.relu(", b"ops.evil.relu("),
    "names that nothing makes": lambda parts: _swapped(parts, b"return ", b"return nowhere + "),
    "a file read": lambda parts: _swapped(
        parts, b"torch.relu(", b'torch.from_file("/etc/passwd", False, 16, dtype=0) + ('
    ),
    "a file written": lambda parts: _swapped(
        parts, b"    return ", b'    torch.save(x, "evil")\n    return '
    ),
}


def _swapped(parts: Parts, old: bytes, new: bytes) -> Parts:
    hits = [n for n, d in parts.items() if n.endswith(".py") and old in d]
    assert hits, "the code has no such words"
    return {n: d.replace(old, new) if n in hits else d for n, d in parts.items()}


#: What ends the process that reads it, or fills its memory: for a child only.
FOR_A_CHILD = {"a memo of gigabytes", "code in brackets", "a pickle of lists in lists"}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", [n for n in BROKEN if n not in FOR_A_CHILD])
def test_broken_archives(good: bytes, name: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "m.pt", tmp_path / "f"
    folder.mkdir()
    path.write_bytes(script_cases.packed(BROKEN[name](script_cases.members(good))))
    assert not converts(path, folder, *SHAPES)
    assert not Path("evil").exists()


@pytest.mark.parametrize("name", sorted(FOR_A_CHILD))
def test_archives_that_end_their_reader(good: bytes, name: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "m.pt", tmp_path / "f"
    folder.mkdir()
    path.write_bytes(script_cases.packed(BROKEN[name](script_cases.members(good))))
    with bounds(30, 2 << 30):
        assert not converts(path, folder, *SHAPES)


@pytest.mark.parametrize("name", [*script_cases.BOMBS, "laughs"])
def test_bombs(name: str, tmp_path: Path) -> None:
    """Code that the child does not come to an end with, or that takes more than it has."""
    path, folder = tmp_path / "m.pt", tmp_path / "f"
    folder.mkdir()
    kind = script_cases.BOMBS.get(name)
    path.write_bytes(script_cases.laughing(30) if kind is None else script_cases.archive(kind()))
    with bounds(8, 2 << 30):
        assert not converts(path, folder, "--shapes", "x=2x4")


@pytest.mark.usefixtures("here")
def test_loops_that_would_be_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MOST_ROUNDS", 150)
    path, folder = tmp_path / "m.pt", tmp_path / "f"
    folder.mkdir()
    path.write_bytes(script_cases.archive(script_cases.Long()))
    assert not converts(path, folder, "--shapes", "x=2x4", "--dynamic", "none")


@pytest.mark.usefixtures("here")
def test_truncated_archives(good: bytes, tmp_path: Path) -> None:
    for number, cut in enumerate(np.linspace(1, len(good) - 1, 25).astype(int)):
        path, folder = tmp_path / f"{number}.pt", tmp_path / str(number)
        folder.mkdir()
        path.write_bytes(good[:cut])
        assert not converts(path, folder, *SHAPES)


@pytest.mark.usefixtures("here")
def test_flipped_bits_of_weights(good: bytes, tmp_path: Path) -> None:
    """With a right checksum it is another model, which is converted as it is."""
    rng = np.random.default_rng(0)
    parts = script_cases.members(good)
    weights = [n for n in parts if "/data/" in n]
    for number in range(4):
        name = weights[number % len(weights)]
        raw = bytearray(parts[name])
        raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
        if number == 3:
            raw[:4] = np.float32(np.nan).tobytes()
        path, folder = tmp_path / f"{number}.pt", tmp_path / str(number)
        folder.mkdir()
        path.write_bytes(script_cases.packed({**parts, name: bytes(raw)}))
        assert converts(path, folder, *SHAPES)
        assert_same_as_script(path, folder / "out")


@pytest.mark.usefixtures("here")
def test_flipped_bits_anywhere(good: bytes, tmp_path: Path) -> None:
    """Checksums are not mended: most are refused; what torch still reads is converted as it is.

    Without the record of source lines, which holds this machine's paths: the same flips everywhere.
    """
    rng = np.random.default_rng(1)
    refused = 0
    parts = script_cases.members(good)
    kept = script_cases.packed({n: d for n, d in parts.items() if not n.endswith(".debug_pkl")})
    for number in range(30):
        raw = bytearray(kept)
        raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
        path, folder = tmp_path / f"{number}.pt", tmp_path / str(number)
        folder.mkdir()
        path.write_bytes(bytes(raw))
        if converts(path, folder, *SHAPES):
            assert_same_as_script(path, folder / "out")
        else:
            refused += 1
    assert refused > 3


def test_source_lines_outside_their_table(good: bytes, tmp_path: Path) -> None:
    """torch follows the index of a quoted line wherever it points (found by fuzzing)."""
    parts = script_cases.members(good)
    name = _member(parts, ".debug_pkl")
    wrong = parts[name].replace(b"](K\x01", b"](K\x7f")
    assert wrong != parts[name]
    path = tmp_path / "model.pt"
    path.write_bytes(script_cases.packed({**parts, name: wrong}))
    with pytest.raises(SourceError, match=r"source lines .* points outside its own table"):
        p2m.convert(path, (torch.rand(2, 3, 4),))


@pytest.mark.usefixtures("here")
def test_names_of_modules_are_names(tmp_path: Path) -> None:
    """A class and a weight of another name in code and pickle alike."""
    data = script_cases.archive(models.Unrolled())
    for number, name in enumerate(("keys", "__class__", "mx", "load", "print", "lambda_", "É")):
        parts = {
            n: d.replace(b"cell", name.encode()) if len(name) == 4 or n.endswith(".py") else d
            for n, d in script_cases.members(data).items()
        }
        path, folder = tmp_path / f"{number}.pt", tmp_path / str(number)
        folder.mkdir()
        path.write_bytes(script_cases.packed(parts))
        converts(path, folder, "--shapes", "x=2x5x4")


def test_a_huge_view_of_a_small_tensor(tmp_path: Path) -> None:
    """Strides of zero: terabytes that the file need not hold."""

    class Wide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("w", torch.ones(1).expand(1 << 20, 1 << 20))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.w[0, 0]

    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(Wide(), torch.ones(2)), file)
    path, folder = tmp_path / "m.pt", tmp_path / "f"
    folder.mkdir()
    path.write_bytes(file.getvalue())
    with bounds(30, 2 << 30):
        assert not converts(path, folder, "--shapes", "x=2")


def test_inputs_that_no_child_can_take(good: bytes) -> None:
    """They are left out there: the archive is still read first."""
    call = load.Call((lambda: None,), {})
    assert call.pickled() == load.Call().pickled()
    assert isinstance(call.args[0], Callable)  # type: ignore[arg-type]


def test_examples_reach_the_child(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(good)
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "attempt", lambda task, request, **_: found.append((task, request)))
        load.load_script(path, load.Call((torch.ones(2, 3, 4),)))
    ((task, request),) = found
    assert task.endswith(":trial")
    assert request["method"] == "forward"
    assert len(request["call"]) > 100


def test_a_place_of_megabytes() -> None:
    """torch underlines as much as a damaged record claims: 12 GB, of one of them."""

    class Damaged:
        def sourceRange(self) -> str:
            return 'File "a.py", line 1\n' + "~" * (2 << 20)

    with pytest.raises(SourceError, match="record of source lines is damaged"):
        source_line(Damaged())
