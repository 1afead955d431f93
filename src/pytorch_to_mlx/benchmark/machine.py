"""What ran the benchmark: device, versions, threads, BLAS, and what its matmul reaches."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from ..blas import load_blas
from .sides import SourceModel

PROBE_SECONDS = 0.3
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def mlx_backend() -> str:
    """``"cpu"``, ``"metal"`` or ``"cuda"``: where MLX's default device computes."""
    if mx.default_device().type == mx.DeviceType.cpu:
        return "cpu"
    return "metal" if mx.metal.is_available() else "cuda"


def compile_obstacle() -> str:
    """Why ``mx.compile`` would silently run uncompiled here, or ``""``."""
    if mlx_backend() == "cpu" and shutil.which("g++") is None:
        return "mx.compile needs g++ on a CPU and there is none on the PATH"
    return ""


def tf32(torch_device: str | None) -> bool:
    """Whether float32 products are rounded to TF32 by MLX or by torch."""
    by_mlx = mlx_backend() == "cuda" and os.environ.get("MLX_ENABLE_TF32", "1") != "0"
    if torch_device != "cuda":
        return by_mlx
    import torch

    return by_mlx or torch.get_float32_matmul_precision() != "highest"


def torch_device(source: SourceModel | None) -> str | None:
    """Where torch computes; ``None`` where the source is no torch model."""
    return source.where if source is not None and source.library == "torch" else None


def describe(source: SourceModel | None) -> dict[str, Any]:
    """The ``device``, ``versions``, ``blas`` and ``threads`` of a benchmark section."""
    versions = {"python": platform.python_version(), "mlx": _version("mlx")}
    threads: dict[str, Any] = {"cpus": len(_affinity())}
    device: dict[str, Any] = {"mlx": mlx_backend(), "torch": None}
    if source is not None:
        versions[source.library] = _version(source.library)
        threads[source.library] = source.threads
        device[source.library] = source.where
    threads |= {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    if blas_threads := _blas_threads():
        threads["blas"] = blas_threads
    device |= {
        "name": _device_name(torch_device(source)),
        "cpu": _cpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "tf32": tf32(torch_device(source)),
    }
    return {"device": device, "versions": versions, "blas": load_blas(), "threads": threads}


def _blas_threads() -> int | None:
    """OpenBLAS's threads, where it is the BLAS of this process."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "openblas_get_num_threads"):
        return None
    return int(library.openblas_get_num_threads())


def matmul_gflops(dtype: str, source: SourceModel | None) -> dict[str, float]:
    """Matmul speed in GFLOP/s, by library, of square ``dtype`` matrices on their devices."""
    side = 1024 if mlx_backend() == "cpu" else 8192
    a = mx.random.normal((side, side)).astype(getattr(mx, dtype))
    mx.eval(a)
    out = {"mlx": _gflops(lambda: mx.eval(a @ a), side)}
    if source is not None:
        side = 1024 if source.where == "cpu" else 8192
        out[source.library] = _gflops(source.product(side, dtype), side)
    elif mlx_backend() == "cpu":
        c = np.ones((side, side), np.float32)
        out["numpy"] = _gflops(lambda: c @ c, side)
    return out


def _gflops(product: Callable[[], object], side: int) -> float:
    product()
    best, spent = float("inf"), 0.0
    while spent < PROBE_SECONDS:
        start = time.perf_counter()
        product()
        seconds = time.perf_counter() - start
        best, spent = min(best, seconds), spent + seconds
    return 2.0 * side**3 / best / 1e9


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _device_name(torch_device: str | None) -> str:
    if mlx_backend() != "cpu":
        return str(mx.device_info().get("device_name", "GPU"))
    if torch_device == "cuda":
        import torch

        return f"{_cpu_name()} (MLX), {torch.cuda.get_device_name()} (torch)"
    return _cpu_name()


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
