"""``pytest folder`` passes with only MLX and pytest, and fails when a weight has changed."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from tests.package.processes import selftest

WEIGHTS = "model.safetensors"


def read(path: Path) -> dict[str, mx.array]:
    """Every weight in memory: the file is about to be written."""
    weights: Any = mx.load(str(path))
    mx.eval(weights)
    return dict(weights)


def renew_digest(package: Path) -> None:
    """Makes the changed weights those that the self-test expects, so that only outputs can tell."""
    path = package / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    digest = hashlib.sha256((package / WEIGHTS).read_bytes()).hexdigest()
    assert config["golden"]["sha256"][WEIGHTS] != digest
    config["golden"]["sha256"][WEIGHTS] = digest
    path.write_text(json.dumps(config), encoding="utf-8")


def test_passes_without_torch_and_numpy(package: Path, tmp_path: Path) -> None:
    done = selftest(package, tmp_path / "env")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_one_flipped_bit_fails(package: Path, tmp_path: Path) -> None:
    file = package / WEIGHTS
    data = bytearray(file.read_bytes())
    (header,) = struct.unpack("<Q", data[:8])
    data[8 + header + 1000] ^= 1
    file.write_bytes(data)
    done = selftest(package, tmp_path / "env")
    assert done.returncode == 1
    assert "model.safetensors has changed" in done.stdout


@pytest.mark.parametrize("name", ["conv.weight", "old.weight", "embedding.weight", "scale"])
def test_one_changed_weight_changes_outputs(package: Path, tmp_path: Path, name: str) -> None:
    weights = read(package / WEIGHTS)
    changed = mx.array(weights[name])
    middle = tuple(n // 2 for n in changed.shape)  # the model's window is zero at its ends
    changed[middle] = changed[middle] + 1
    mx.save_safetensors(str(package / WEIGHTS), {**weights, name: changed})
    renew_digest(package)
    done = selftest(package, tmp_path / "env")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "off by" in done.stdout


def test_missing_and_extra_weights_fail(package: Path, tmp_path: Path) -> None:
    weights = read(package / WEIGHTS)
    for changed in (dict(list(weights.items())[1:]), {**weights, "extra": mx.zeros(2)}):
        mx.save_safetensors(str(package / WEIGHTS), changed)
        renew_digest(package)
        done = selftest(package, tmp_path / "env")
        assert done.returncode == 1, done.stdout + done.stderr
