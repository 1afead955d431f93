"""Finds a fast BLAS for MLX on a Linux CPU.

The Linux wheel of MLX carries a reference BLAS that is ten to thirty times slower than OpenBLAS or
MKL in fp32. MLX calls ``cblas_sgemm`` and its kin by name, so a library that defines them and is
loaded with global symbols *before* ``mlx.core`` serves those calls. Later it has no effect.

Its functions that return complex numbers are kept from libraries loaded after it: Fortran compilers
do not agree on how they return, and so neither do BLAS libraries. torch calls a ``cdotu_`` of its
own in that one's way, but the dynamic linker would give it the first one with global symbols, and
``torch.dot`` of complex vectors would be 0. What the BLAS itself calls is bound when it is loaded
(``ctypes`` asks for ``RTLD_NOW``), and MLX calls none of them.
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

_RETURN_COMPLEX = ("cdotu_", "cdotc_", "zdotu_", "zdotc_", "cladiv_", "zladiv_")
_SYMBOL_ENTRY = 1  # RTLD_DL_SYMENT
_PROTECTION = {"r": 1, "w": 2, "x": 4}  # PROT_READ, PROT_WRITE, PROT_EXEC

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
        library = ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
    except OSError:
        return None
    # MKL returns as torch's does; the system's LAPACK, loaded later, calls libblas.
    if hasattr(library, "openblas_get_config") and "libblas" not in name:
        _hide_complex_results(library)
    return library


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


class _Info(ctypes.Structure):
    """``Dl_info`` of dlfcn.h."""

    _fields_ = [
        ("dli_fname", ctypes.c_char_p),
        ("dli_fbase", ctypes.c_void_p),
        ("dli_sname", ctypes.c_char_p),
        ("dli_saddr", ctypes.c_void_p),
    ]


class _Symbol(ctypes.Structure):
    """``Elf64_Sym`` of elf.h."""

    _fields_ = [
        ("st_name", ctypes.c_uint32),
        ("st_info", ctypes.c_uint8),
        ("st_other", ctypes.c_uint8),
        ("st_shndx", ctypes.c_uint16),
        ("st_value", ctypes.c_uint64),
        ("st_size", ctypes.c_uint64),
    ]


def _hide_complex_results(library: ctypes.CDLL) -> None:
    """Marks those functions as not defined in the loaded library.

    Where the system offers no way (another libc, a 32-bit process), nothing is changed.
    """
    process = ctypes.CDLL(None)
    if ctypes.sizeof(ctypes.c_void_p) == 8 and hasattr(process, "dladdr1"):
        for name in _RETURN_COMPLEX:
            if hasattr(library, name):
                _hide(process, library, name)


def _hide(process: ctypes.CDLL, library: ctypes.CDLL, name: str) -> None:
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p)
    info, entry = _Info(), ctypes.POINTER(_Symbol)()
    found = process.dladdr1(address, ctypes.byref(info), ctypes.byref(entry), _SYMBOL_ENTRY)
    if not found or not entry or info.dli_sname != name.encode():  # an alias of the same address
        return
    page = os.sysconf("SC_PAGE_SIZE")
    place = ctypes.addressof(entry.contents)
    start = place // page * page
    size = (place + ctypes.sizeof(_Symbol) - start + page - 1) // page * page
    where, length = ctypes.c_void_p(start), ctypes.c_size_t(size)
    before = _protection(start, start + size)
    if not before or process.mprotect(where, length, before | _PROTECTION["w"]) != 0:
        return
    entry.contents.st_shndx = 0  # SHN_UNDEF: the linker looks on
    entry.contents.st_value = 0
    process.mprotect(where, length, before)


def _protection(start: int, end: int) -> int:
    """How memory of this process may be used; 0 if that is not the same for all of it."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        span, flags = line.split()[:2]
        low, high = (int(n, 16) for n in span.split("-"))
        if low <= start and end <= high:
            return sum(bit for flag, bit in _PROTECTION.items() if flag in flags)
    return 0
