"""A conversion that is interrupted, terminated or killed at any instant: old, new or nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTANTS = int(os.environ.get("P2M_KILLS", "10"))
#: What a conversion writes anew each time: it holds timings.
TIMED = ("report.json", "report.html")

MODELS = """
import torch

class {name}(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear({size}, {size})
        with torch.no_grad():
            for p in self.parameters():
                p.fill_({value})

    def forward(self, x):
        return torch.tanh(self.linear(x))

def make():
    return {name}(), (torch.ones(2, {size}),), {{}}, None
"""


class Nursery:
    """See ``nursery.py``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "stderr"
        env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("nursery.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )

    def run(self, folder: Path, *args: str, number: int = 0, at: int = 0) -> tuple[int, int]:
        """Exit status and file-system steps below ``folder`` of one command."""
        order = {
            "args": args,
            "root": str(folder),
            "log": str(self.log),
            "signal": number,
            "at": at,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["exit"], answer["steps"]

    def convert(self, name: str, folder: Path, **options: Any) -> tuple[int, int]:
        source = f"{self.root / name}.py:make"
        target = str(folder / "package")
        return self.run(folder, "convert", "-i", source, "-o", target, "--overwrite", **options)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    root = tmp_path_factory.mktemp("crash")
    for name, size, value in (("Old", 2, 0.5), ("New", 3, 0.25)):
        (root / f"{name}.py").write_text(MODELS.format(name=name, size=size, value=value))
    it = Nursery(root)
    yield it
    assert it.process.stdin is not None
    it.process.stdin.close()
    it.process.wait(timeout=60)


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != "__pycache__"}


@pytest.fixture(scope="module")
def wanted(nursery: Nursery) -> dict[str, dict[str, bytes]]:
    """The two packages as they are when nothing interrupts."""
    found = {}
    for name in ("Old", "New"):
        folder = nursery.root / f"{name} whole"
        folder.mkdir()
        code, _ = nursery.convert(name, folder)
        assert code == 0, nursery.log.read_text()
        found[name] = content(folder / "package")
    return found


def state(target: Path, wanted: dict[str, dict[str, bytes]]) -> str:
    """``Old``, ``New`` or ``none``; anything else is a mixture, and fails."""
    if not target.exists():
        return "none"
    now = content(target)
    for name, files in wanted.items():
        if {k: v for k, v in now.items() if k not in TIMED} == {
            k: v for k, v in files.items() if k not in TIMED
        } and set(now) == set(files):
            assert json.loads(now["report.json"])["model"]["name"] == name
            assert now["report.html"].rstrip().endswith(b"</html>")
            assert name.encode() in now["report.html"]
            return name
    raise AssertionError(f"a mixture: {sorted(now)}")


def instants(steps: int, count: int) -> list[int]:
    """Steps spread over the whole run, its last ones (where folders change places) among them."""
    spread = {1 + round(i * (steps - 1) / max(count - 1, 1)) for i in range(count)}
    return sorted(spread | set(range(max(1, steps - 3), steps + 1)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_at_any_instant(
    nursery: Nursery, wanted: dict[str, dict[str, bytes]], tmp_path: Path, number: signal.Signals
) -> None:
    target = tmp_path / "package"
    assert nursery.convert("Old", tmp_path)[0] == 0
    assert state(target, wanted) == "Old"
    code, steps = nursery.convert("New", tmp_path)  # how many steps there are
    assert (code, state(target, wanted)) == (0, "New")
    assert steps > 20
    count = INSTANTS if number == signal.SIGKILL else max(4, INSTANTS // 3)
    seen = []
    name, other = "Old", "New"
    for at in instants(steps, count):
        code, _ = nursery.convert(name, tmp_path, number=number, at=at)
        now = state(target, wanted)
        seen.append(now)
        beside = sorted(p.name for p in tmp_path.iterdir())
        if number == signal.SIGKILL:
            assert code == -signal.SIGKILL
        else:
            assert code in (128 + number, 0), nursery.log.read_text()
            assert beside == ["package"], beside
            assert "Traceback" not in nursery.log.read_text()
        if code == 0:
            assert now == name
        if now == name:
            name, other = other, name
        else:
            assert now == other, "the package that was there is gone"
    assert {"Old", "New"} & set(seen)
    code, _ = nursery.convert("New", tmp_path)
    assert (code, state(target, wanted)) == (0, "New")
    assert [p.name for p in tmp_path.iterdir()] == ["package"], "leftovers of killed runs"


def test_a_new_folder_appears_whole_or_not_at_all(
    nursery: Nursery, wanted: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    first = tmp_path / "first"
    first.mkdir()
    _, steps = nursery.convert("New", first)
    for i, at in enumerate(instants(steps, 3)):
        folder = tmp_path / str(i)
        folder.mkdir()
        code, _ = nursery.convert("New", folder, number=signal.SIGKILL, at=at)
        assert code == -signal.SIGKILL
        assert state(folder / "package", wanted) in ("none", "New")


def test_a_proof_is_in_all_files_or_in_none(nursery: Nursery, tmp_path: Path) -> None:
    """Report and README change together when an existing package is validated."""
    target = tmp_path / "package"
    assert nursery.convert("New", tmp_path)[0] == 0
    proof = ("validate", str(target), "-i", f"{nursery.root / 'New'}.py:make")
    bare = content(target)
    code, steps = nursery.run(tmp_path, *proof)
    assert code == 0, nursery.log.read_text()
    proven = content(target)
    assert bare["README.md"] != proven["README.md"]
    for at in instants(steps, 3):
        assert nursery.convert("New", tmp_path)[0] == 0
        code, _ = nursery.run(tmp_path, *proof, number=signal.SIGKILL, at=at)
        assert code == -signal.SIGKILL
        now = content(target)
        wanted = proven if "validation" in json.loads(now["report.json"]) else bare
        assert now["README.md"] == wanted["README.md"]
        assert set(now) == set(wanted)
    assert nursery.run(tmp_path, *proof)[0] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["package"], "leftovers of killed runs"
