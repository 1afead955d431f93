"""Disks that fill, limits on files, parameters that are no numbers: nothing lost, nothing wrong."""

from __future__ import annotations

import errno
import io
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pytorch_to_mlx as p2m
from pytorch_to_mlx.errors import OutputError
from pytorch_to_mlx.package import atomic, folder
from tests.golden.compare import assert_same, run_torch
from tests.hostile.reached import assert_one_line
from tests.package.processes import selftest

torch.set_num_threads(1)


def convert(output: Path, **options: Any) -> Any:
    torch.manual_seed(0)
    x = torch.ones(2, 3)
    return p2m.convert(nn.Linear(3, 2), (x,), output=output, dynamic_shapes=None, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


class Full(io.BytesIO):
    """A file on a disk that has become full."""

    def write(self, _: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def full_at(number: int, below: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Lets the ``number``-th file that is opened for writing below a folder fail; counts them."""
    count = 0
    real = io.open

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        if "w" in mode and str(file).startswith(str(below)):
            count += 1
            if count == number:
                return Full()
        return real(file, mode, *args, **kwargs)

    monkeypatch.setattr(io, "open", opened)
    return lambda: count


def test_a_disk_that_is_full_at_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = convert(tmp_path / "old").path
    before = content(old)
    for number in range(1, 100):
        with monkeypatch.context() as patch:
            written = full_at(number, tmp_path, patch)
            try:
                convert(old, overwrite=True)
            except OutputError as error:
                assert_one_line(error)
                assert "No space left" in str(error)
            else:
                assert written() < number
                break
        assert content(old) == before
        assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert number > 8, "fewer files than a package has"
    assert p2m.load(old)(np.ones((2, 3), np.float32)).shape == (2, 2)


@pytest.mark.parametrize("limit", [0, 100, 700, 5000])
def test_a_limit_on_the_size_of_files(tmp_path: Path, limit: int) -> None:
    """Every write fails where the system says so, whoever writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OutputError) as caught:
            convert(tmp_path / "p")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_one_line(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["mkdir", "mkdtemp", "rename"])
def test_what_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    old = convert(tmp_path / "old").path
    before = content(old)
    with monkeypatch.context() as patch:
        if call == "mkdtemp":
            patch.setattr(folder.tempfile, "mkdtemp", refused)
        else:
            patch.setattr(Path, call, refused)
            patch.setattr(folder, "exchange", lambda a, b: False)
        with pytest.raises(OutputError, match="Permission denied"):
            convert(old, overwrite=True)
    assert content(old) == before
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_folders_change_places_in_one_step(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not atomic.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot")
    assert (tmp_path / "a" / "b").exists()
    assert not atomic.exchange(tmp_path / "a", tmp_path / "missing")


def test_an_old_folder_that_stepped_aside_comes_back(tmp_path: Path) -> None:
    """Where folders cannot change places in one step, a killed run may leave this."""
    old = convert(tmp_path / "p").path
    before = content(old)
    old.rename(tmp_path / ".p.123.old")
    with pytest.raises(OutputError, match="exists"):
        convert(tmp_path / "p")
    assert content(tmp_path / "p") == before
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


class Broken(nn.Module):
    """Weights of which some are no numbers; what they reach is none either."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.conv = nn.Conv1d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))
        with torch.no_grad():
            self.linear.weight[1, 2] = torch.nan
            self.linear.bias[0] = torch.inf
            self.conv.weight[0, 0, 1] = -torch.inf

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = torch.softmax(x.mean(1, keepdim=True) + self.mask, -1)
        return self.linear(x), self.norm(self.conv(x)), y


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    module = Broken().eval()
    out = tmp_path_factory.mktemp("broken") / "p"
    return module, p2m.convert(module, (torch.randn(3, 2, 4),), output=out)


def test_weights_that_are_no_numbers(broken: tuple[nn.Module, Any], tmp_path: Path) -> None:
    module, converted = broken
    loaded = p2m.load(converted.path)
    for batch in (1, 3, 4):
        x = torch.randn(batch, 2, 4)
        assert_same(loaded(x), run_torch(module, x))
    done = selftest(converted.path, tmp_path / "env")
    assert done.returncode == 0, done.stdout + done.stderr


def test_inputs_that_are_no_numbers(broken: tuple[nn.Module, Any]) -> None:
    module, converted = broken
    x = torch.randn(2, 2, 4)
    x[0, 0, 0], x[0, 1, 2], x[1, 0, 3] = torch.nan, torch.inf, -torch.inf
    assert_same(converted(x), run_torch(module, x))


def test_validation_of_what_is_no_number(broken: tuple[nn.Module, Any]) -> None:
    _, converted = broken
    result = p2m.validate(converted)
    assert result.passed, result.summary()
    converted.write_report()
