"""Finds a fast BLAS for MLX on a Linux CPU.

The Linux wheel of MLX carries a reference BLAS that is ten to thirty times slower than OpenBLAS or
MKL in fp32. MLX calls ``cblas_sgemm`` and its kin by name, so a library that defines them and is
loaded with global symbols *before* ``mlx.core`` serves those calls. Later it has no effect.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

#: Path or soname of the BLAS to load; "none" keeps MLX's own.
ENVIRONMENT = "P2M_BLAS"

HINT = (
    "install a fast BLAS for MLX on this CPU (Debian/Ubuntu: apt-get install libopenblas0-pthread)"
)
BUNDLED = "reference BLAS bundled with MLX (slow)"

_description: str | None = None
_hinted = False


def load_blas() -> str:
    """Loads a fast BLAS if this is Linux and MLX is not yet imported; says which BLAS runs.

    Idempotent: later calls return the first one's answer. Raises ``OSError`` if ``P2M_BLAS`` names
    a library that cannot be loaded or that defines no ``cblas_sgemm``.
    """
    global _description
    if _description is None:
        _description = _load()
    return _description


def blas_hint() -> str:
    """What to install when MLX runs on its slow BLAS; empty if it does not, or if already said."""
    global _hinted
    if _hinted or load_blas() != BUNDLED:
        return ""
    _hinted = True
    return HINT


def _load() -> str:
    if sys.platform == "darwin":
        return "Accelerate"
    if not sys.platform.startswith("linux"):
        return "bundled with MLX"
    preloaded = _provider(ctypes.CDLL(None))
    if preloaded:
        return f"{preloaded} (preloaded)"
    if "mlx.core" in sys.modules:
        return BUNDLED
    wanted = os.environ.get(ENVIRONMENT, "")
    if wanted.lower() == "none":
        return BUNDLED
    if wanted:
        library = _open(wanted)
        if library is None:
            raise OSError(f"{ENVIRONMENT}={wanted} cannot be loaded, or defines no cblas_sgemm")
        return _provider(library) or wanted
    for candidate in _candidates():
        library = _open(candidate)
        if library is not None:
            return _provider(library) or candidate
    return BUNDLED


def _candidates() -> Iterator[str]:
    yield "libopenblas.so.0"
    yield "libblas.so.3"
    yield from _mkl()
    found = ctypes.util.find_library("openblas")
    if found:
        yield found


def _mkl() -> Iterator[str]:
    """MKL as pip installs it (beside the environment's lib), then as the system has it."""
    for path in sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*")):
        yield str(path)
    yield "libmkl_rt.so.2"


def _open(name: str) -> ctypes.CDLL | None:
    """Loads a library with global symbols if it can serve MLX, else ``None``."""
    try:
        if not hasattr(ctypes.CDLL(name, ctypes.RTLD_LOCAL), "cblas_sgemm"):
            return None
        return ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
    except OSError:
        return None


def _provider(library: ctypes.CDLL) -> str:
    """The BLAS behind a library's symbols, by its own words; empty if it has no cblas_sgemm."""
    if not hasattr(library, "cblas_sgemm"):
        return ""
    if hasattr(library, "openblas_get_config"):
        describe = library.openblas_get_config
        describe.restype = ctypes.c_char_p
        words = (describe() or b"").decode(errors="replace").split()
        return " ".join(words[:2]) if words else "OpenBLAS"
    if hasattr(library, "MKL_Get_Version_String") or hasattr(library, "mkl_get_max_threads"):
        return "MKL"
    return "system BLAS"
