"""Running a package's files in processes of their own, without the libraries they must not need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_BLOCKER = '''
import sys

BLOCKED = {blocked!r}


class Blocker:
    """Refuses the libraries that a package's files do without."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{{name}} is blocked here", name=name)


sys.meta_path.insert(0, Blocker)
for name in BLOCKED:
    assert name not in sys.modules, name
    try:
        __import__(name)
    except ModuleNotFoundError:
        pass
    else:
        raise AssertionError(f"{{name}} is not blocked")
'''

NOT_NEEDED = ("torch", "numpy", "pytorch_to_mlx", "safetensors", "transformers", "sympy")


def python(
    *arguments: object, plugins: Path, blocked: tuple[str, ...] = NOT_NEEDED, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs Python in a clean environment; importing what is ``blocked`` fails.

    ``plugins`` is an empty folder for the blocker, which Python imports first (``sitecustomize``).
    """
    plugins.mkdir(exist_ok=True)
    (plugins / "sitecustomize.py").write_text(_BLOCKER.format(blocked=blocked), encoding="utf-8")
    (plugins / "conftest.py").touch()
    return subprocess.run(
        [sys.executable, *(str(a) for a in arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=plugins,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(plugins),
            "PYTHONPATH": str(plugins),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "OMP_NUM_THREADS": "1",
            **environment,
        },
    )


def selftest(folder: Path, plugins: Path) -> subprocess.CompletedProcess[str]:
    """``pytest folder`` with nothing but MLX and pytest."""
    return python("-m", "pytest", "-q", "-p", "no:cacheprovider", folder, plugins=plugins)
