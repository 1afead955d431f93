"""Runs the command line in forked children that a signal meets at a chosen instant.

Started as a process of its own: it has everything imported, but nothing of MLX or torch running, so
a fork is a fresh command without the seconds that importing takes. It reads one JSON object a line
(``args``, ``signal`` and ``at``: which file-system step below ``root``; 0 for none) and answers
with the child's exit status (negative: the signal that killed it) and the steps that it saw.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

_STEPS = {
    *("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "os.link"),
    "shutil.rmtree",
}


def main() -> None:
    _warm_up()
    for line in sys.stdin:
        order = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _run(order, writer)
        os.close(writer)
        seen = 0
        while block := os.read(reader, 1 << 16):
            seen += len(block)
        os.close(reader)
        _, status = os.waitpid(child, 0)
        answer = {"exit": os.waitstatus_to_exitcode(status), "steps": seen}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _warm_up() -> None:
    """Imports, and what torch does on the first export of a process; no array of MLX is made."""
    import torch

    from pytorch_to_mlx.capture.export import capture_module
    from pytorch_to_mlx.cli.app import app
    from pytorch_to_mlx.lower.aten import load_families
    from pytorch_to_mlx.report.page import render_page

    assert app is not None
    assert render_page is not None
    load_families()
    torch.set_num_threads(1)
    capture_module(torch.nn.Linear(2, 2), (torch.ones(2, 2),), dynamic_shapes=None)


def _run(order: dict[str, Any], writer: int) -> None:
    import pytorch_to_mlx.cli

    count = 0
    root, number, at = order["root"], order["signal"], order["at"]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _STEPS or not args or not isinstance(args[0], (str, bytes, os.PathLike)):
            return
        if not os.fsdecode(args[0]).startswith(root):
            return
        count += 1
        os.write(writer, b".")
        if count == at:
            os.kill(os.getpid(), number)

    quiet = os.open(os.devnull, os.O_WRONLY)
    errors = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(quiet, 1)
    os.dup2(errors, 2)
    sys.addaudithook(hook)
    sys.argv = ["pytorch_to_mlx", *order["args"]]
    code = 0
    try:
        pytorch_to_mlx.cli.main()
    except SystemExit as done:
        code = int(done.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
