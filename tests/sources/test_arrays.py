from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pytorch_to_mlx.errors import InputError
from pytorch_to_mlx.sources.arrays import load_arrays, load_tensors


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    np.savez(path, np.ones(2, np.float32), ids=np.arange(3), **{"batch.mask": np.ones(2, bool)})
    args, kwargs = load_tensors(path)
    assert args[0].tolist() == [1, 1]
    assert kwargs["ids"].dtype == torch.int64
    assert kwargs["batch"]["mask"].dtype == torch.bool


def test_npy_is_one_positional_input(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.float32(3))
    args, _ = load_tensors(tmp_path / "x.npy")
    assert args[0].shape == ()


def test_safetensors_keeps_bfloat16(tmp_path: Path) -> None:
    path = tmp_path / "in.safetensors"
    save_file({"x": torch.ones(2, dtype=torch.bfloat16)}, path)
    assert load_arrays(path)["x"].dtype == torch.bfloat16


@pytest.mark.parametrize("zipped", [True, False])
def test_pt_of_dicts_tuples_and_scalars(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "in.pt"
    value = {"x": torch.ones(2, dtype=torch.bfloat16), "h": (torch.zeros(1), torch.ones(1)), "n": 3}
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    args, kwargs = load_tensors(path)
    assert args == ()
    assert kwargs["x"].dtype == torch.bfloat16
    assert [h.item() for h in kwargs["h"]] == [0, 1]
    assert kwargs["n"] == 3


def test_pt_of_a_tuple_or_tensor_is_positional(tmp_path: Path) -> None:
    torch.save((torch.ones(1), torch.zeros(2)), tmp_path / "t.pt")
    torch.save(torch.ones(3), tmp_path / "x.pt")
    assert len(load_tensors(tmp_path / "t.pt")[0]) == 2
    assert load_tensors(tmp_path / "x.pt")[0][0].shape == (3,)


def _damaged(kind: str, tmp_path: Path) -> Path:
    path = tmp_path / f"bad.{kind}"
    if kind == "npz":
        np.savez(path, x=np.ones(100))
    elif kind == "safetensors":
        save_file({"x": torch.ones(100)}, path)
    else:
        torch.save({"x": torch.ones(100)}, path, _use_new_zipfile_serialization=kind == "pt")
    path.write_bytes(path.read_bytes()[:300])
    return path


@pytest.mark.parametrize("kind", ["npz", "safetensors", "pt", "old_pt"])
def test_cut_short(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_arrays(_damaged(kind, tmp_path))
    assert "\n" not in str(caught.value)


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    torch.save({"x": torch.nn.Linear(1, 1)}, tmp_path / "in.pt")
    np.savez(tmp_path / "in.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="Python objects"):
        load_arrays(tmp_path / "in.pt")
    with pytest.raises(InputError, match="allow_pickle"):
        load_arrays(tmp_path / "in.npz")


def test_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        load_arrays(tmp_path / "none.npz")
    (tmp_path / "empty.npz").touch()
    with pytest.raises(InputError, match="is empty"):
        load_arrays(tmp_path / "empty.npz")
