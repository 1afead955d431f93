"""Saving, loading, overwriting: all or nothing, and only packages are ever replaced."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch

import pytorch_to_mlx as p2m
from pytorch_to_mlx.converted import Converted
from pytorch_to_mlx.errors import OutputError, SourceError
from tests.golden.compare import assert_same, run_torch
from tests.package.models import inputs

FILES = {
    "README.md",
    "config.json",
    "convert_weights.py",
    "golden.safetensors",
    "model.py",
    "model.safetensors",
    "report.html",
    "report.json",
    "test_model.py",
}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


class Adder(torch.nn.Module):
    """Small enough to convert in every test."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight


def convert_adder(output: Path, **options: Any) -> Converted:
    x = torch.ones(2, 3)
    return p2m.convert(Adder(), (x,), output=output, dynamic_shapes=None, **options)


def test_every_file_is_there(converted: Converted) -> None:
    assert {p.name for p in converted.path.iterdir() if p.name != "__pycache__"} == FILES


def test_round_trip(converted: Converted, source: torch.nn.Module, tmp_path: Path) -> None:
    saved = converted.save(tmp_path / "deep" / "er" / "saved")
    assert saved == tmp_path / "deep" / "er" / "saved"
    loaded = p2m.load(saved)
    for batch, length in ((2, 5), (1, 1), (3, 8)):
        x = inputs(batch, length)
        want = run_torch(source, x)
        assert_same(loaded(x), want)
        assert_same(loaded(tokens=x.numpy()), want)
        for ours, theirs in zip(loaded(x), converted(x), strict=True):
            assert mx.array_equal(ours, theirs).item()
    again = loaded.save(tmp_path / "again")
    names = FILES - {"report.html", "report.json"}
    assert {k: v for k, v in bytes_of(again).items() if k in names} == {
        k: v for k, v in bytes_of(saved).items() if k in names
    }


def test_a_package_outlives_its_conversion(tmp_path: Path) -> None:
    converted = convert_adder(tmp_path / "p")
    del converted
    np.testing.assert_array_equal(np.array(p2m.load(tmp_path / "p")(np.zeros((2, 3), np.float32))),
                                  [[0, 1, 2]] * 2)  # fmt: skip


def test_existing_folder_needs_overwrite(converted: Converted, tmp_path: Path) -> None:
    target = converted.save(tmp_path / "p")
    before = bytes_of(target)
    with pytest.raises(OutputError, match="exists"):
        converted.save(target)
    with pytest.raises(OutputError, match="exists"):
        convert_adder(target)
    assert bytes_of(target) == before
    convert_adder(target, overwrite=True)
    assert p2m.load(target).config["name"] == "Adder"
    converted.save(target, overwrite=True)
    assert bytes_of(target)["model.py"] == before["model.py"]
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_an_empty_folder_is_filled_by_overwrite(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    convert_adder(tmp_path / "p", overwrite=True)
    assert set(bytes_of(tmp_path / "p")) >= FILES


FOREIGN = {
    "work": {"thesis.tex": "years"},
    "a Hugging Face model": {
        "config.json": json.dumps({"model_type": "llama"}),
        "model.safetensors": "weights",
    },
    "a broken config": {"config.json": "{", "notes.md": "mine"},
    "a config that is no object": {"config.json": "[]", "notes.md": "mine"},
}


@pytest.mark.parametrize("kind", list(FOREIGN))
def test_what_is_no_package_is_never_replaced(
    converted: Converted, tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    for name, text in FOREIGN[kind].items():
        (target / name).write_text(text)
    before = bytes_of(target)
    with pytest.raises(OutputError):
        converted.save(target, overwrite=True)
    with pytest.raises(OutputError):
        convert_adder(target, overwrite=True)
    assert bytes_of(target) == before
    with pytest.raises(SourceError):
        p2m.load(target)


def test_files_and_links_are_never_replaced(converted: Converted, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(converted.save(tmp_path / "p"))
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link", "dangling", "file/below"):
        with pytest.raises(OutputError):
            converted.save(tmp_path / name, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "file", "link", "p"]


def no_space(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt(*args: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "where",
    [
        "pytorch_to_mlx.package.writer.safetensors.write_arrays",
        "pytorch_to_mlx.package.writer.write_weights",
        "pytorch_to_mlx.package.writer.write_json",
        "pytorch_to_mlx.report.build.write_report",
    ],
)
@pytest.mark.parametrize(
    "failure, error", [(no_space, OutputError), (interrupt, KeyboardInterrupt)]
)
def test_a_failure_in_the_middle_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, failure: Any, error: type
) -> None:
    old = convert_adder(tmp_path / "old").path
    before = bytes_of(old)
    with monkeypatch.context() as patch:
        patch.setattr(where, failure)
        with pytest.raises(error):
            convert_adder(old, overwrite=True)
        with pytest.raises(error):
            convert_adder(tmp_path / "new")
    assert bytes_of(old) == before
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_an_unsupported_model_leaves_nothing(tmp_path: Path) -> None:
    class Strange(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(p2m.errors.ConversionError):
        p2m.convert(Strange(), (torch.ones(2, 3),), output=tmp_path / "p")
    assert list(tmp_path.iterdir()) == []
