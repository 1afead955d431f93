"""What cannot fit into memory is refused before anything long begins, with both figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import pytorch_to_mlx as p2m
from pytorch_to_mlx import memory
from pytorch_to_mlx.cli.app import app
from pytorch_to_mlx.errors import CaptureError, SourceError

FACTORY = """
import torch

def make():
    return torch.nn.Linear(1024, 512), (torch.ones(2, 1024),)
"""


def linear() -> torch.nn.Module:
    return torch.nn.Linear(1024, 512)  # 2 MiB


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_free(count: int | None) -> None:
        monkeypatch.setattr(memory, "available", lambda: count)

    return set_free


def never(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("went on although memory does not suffice")


def test_weights_that_do_not_fit(
    free: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(3 * 2**20)
    monkeypatch.setattr("pytorch_to_mlx.lower.aten._program.lower_program", never)
    with pytest.raises(CaptureError, match=r"takes 4\.00 MiB of memory, and 3\.00 MiB are free"):
        p2m.convert(linear(), (torch.ones(2, 1024),), output=tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_in_another_precision_that_does_not_fit(free: Any) -> None:
    free(2**20)
    with pytest.raises(SourceError, match="a copy of the weights in bfloat16"):
        p2m.convert(linear(), (torch.ones(2, 1024),), dtype="bfloat16")


def test_a_file_is_not_read_when_it_does_not_fit(
    free: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(linear().state_dict(), tmp_path / "w.pt")
    (tmp_path / "net.py").write_text(FACTORY)
    free(2**20)
    monkeypatch.setattr("torch.load", never)
    arguments = ["convert", "-i", tmp_path / "w.pt", "--model", f"{tmp_path}/net.py:make"]
    result = CliRunner().invoke(app, [*map(str, arguments), "-o", str(tmp_path / "p")])
    assert result.exit_code == 2
    assert "1.00 MiB are free" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("count", [None, 2**40])
def test_enough_or_unknown(free: Any, count: int | None) -> None:
    free(count)
    found = p2m.analyze(linear(), (torch.ones(2, 1024),))["memory"]
    assert found["source_weights"] == (1024 + 1) * 512 * 4
    assert found["needed_beside_them_to_convert"] == 2 * 1024 * 512 * 4
    assert found.get("free_now") == count


def test_the_systems_own_figures() -> None:
    there = memory.available()
    assert there is None or 0 < there < 2**50
    text = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:                               100.\n"
        "Pages active:                            9000.\n"
        "Pages inactive:                            50.\n"
        "Pages speculative:                          7.\n"
    )
    assert memory.macos_bytes(text) == [16384 * 157]
    assert memory.macos_bytes("?") == []


def test_a_containers_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / name for name in ("max", "current", "stat")]
    monkeypatch.setattr(memory, "_CGROUPS", (tuple(map(str, files)),))
    assert memory._container() == []
    for file, text in zip(files, ("max\n", "700\n", "inactive_file 50\n"), strict=True):
        file.write_text(text)
    assert memory._container() == []
    files[0].write_text("1000\n")
    assert memory._container() == [350]


def test_shared_tensors_count_once() -> None:
    x = torch.ones(4, 4)
    assert memory.tensor_bytes([x, x, torch.ones(2)]) == 64 + 8
    assert memory.tensor_bytes([torch.ones(3, device="meta")]) == 0
    assert memory.working_bytes([]) == 0
