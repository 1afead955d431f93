"""The agent loop against a real HTTP server; what stands between its answers and the package."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pytorch_to_mlx as p2m
from pytorch_to_mlx.cli.app import app
from pytorch_to_mlx.custom.agent import sandbox
from pytorch_to_mlx.custom.agent.chat import Agent
from pytorch_to_mlx.custom.agent.check import Rejected, checked
from pytorch_to_mlx.custom.agent.sandbox import Sandbox, SandboxError
from pytorch_to_mlx.errors import InputError, LoweringError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from models import soft_clip  # noqa: E402
from test_ops import own_tests  # noqa: E402

HEAD = "def p2mtest_soft_clip(x, limit=2.0, rounds=1):\n"
WRONG = HEAD + "    return mx.clip(x, -limit, limit)\n"
RIGHT = HEAD + (
    "    for _ in range(rounds):\n        x = limit * mx.tanh(x / limit)\n    return x\n"
)
ESCAPES = [
    "import os\n" + RIGHT,
    HEAD + "    import os\n    return x\n",
    HEAD + "    return mx.load('/etc/passwd')\n",
    HEAD + "    mx.save('/tmp/p2m_escape', x)\n    return x\n",
    HEAD + "    mx.export_function('/tmp/p2m_escape', x)\n    return x\n",
    HEAD + "    return mx.fast.metal_kernel('a', [], [], '')(x)\n",
    HEAD + "    f = mx.load\n    return f('/etc/passwd')\n",
    HEAD + "    m = mx\n    return m.load('/etc/passwd')\n",
    HEAD + "    return ().__class__.__base__.__subclasses__()\n",
    HEAD + "    return x.__array__()\n",
    HEAD + "    return '{0.__class__}'.format(x)\n",
    HEAD + "    return f'{x.__class__}'\n",
    HEAD + "    return eval('1')\n",
    HEAD + "    exec('import os')\n    return x\n",
    HEAD + "    open('/tmp/p2m_escape', 'w')\n    return x\n",
    HEAD + "    return getattr(mx, 'lo' + 'ad')('/etc/passwd')\n",
    HEAD + "    return (lambda: x)()\n",
    HEAD + "    while True:\n        pass\n",
    HEAD + "    mx = x\n    return mx\n",
    HEAD + "    range = x\n    return range\n",
    HEAD + "    x.shape = 1\n    return x\n",
    HEAD + "    [mx for mx in [x]]\n    return x\n",
    HEAD + "    return globals()['x']\n",
    HEAD + "    global y\n    y = x\n    return x\n",
    HEAD + "    return x.tolist()\n",
    HEAD + "    return mx.compile(p2mtest_soft_clip)(x)\n",
    HEAD + "    return mx.array.__init__\n",
    HEAD + "    return 10 ** 99999999999\n",
    "@print\n" + RIGHT,
    "class A:\n    pass\n" + RIGHT,
    "print(1)\n" + RIGHT,
    "def p2mtest_soft_clip(x, limit=print(1), rounds=1):\n    return x\n",
    "def p2mtest_soft_clip(x: print(1), limit=2.0, rounds=1):\n    return x\n",
    "def other(x):\n    return x\n",
    "def p2mtest_soft_clip(x, **kw):\n    return mx.sum(x, **kw)\n",
    "(" * 5000,
    "x" * 30_000,
]


class Small(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return soft_clip(x, 1.5)


class Server:
    """An endpoint that gives the answers it was told, one after another, and keeps what it got."""

    def __init__(self, answers: list[str]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.bodies.append(json.loads(body))
                server.keys.append(self.headers["Authorization"])
                text = f"Here:\n```python\n{answers[len(server.bodies) - 1]}```\n"
                reply = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[Server] = []

    def start(*answers: str) -> Server:
        servers.append(Server(list(answers)))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


def test_wrong_then_malicious_then_right(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2M_AGENT_KEY", "secret")
    server = serve(WRONG, ESCAPES[2], ESCAPES[8], RIGHT)
    agent = Agent(server.url, "tiny", tries=4)
    out = tmp_path / "out"
    converted = p2m.convert(Small(), (torch.randn(2, 4),), output=out, agent=agent)
    x = torch.randn(5, 4)
    np.testing.assert_allclose(np.array(p2m.load(out)(x.numpy())), Small()(x).numpy(), atol=1e-6)
    failures = [b["messages"][-1]["content"] for b in server.bodies[1:]]
    assert "off by" in failures[0]
    assert "mx.load is not allowed" in failures[1]
    assert "is not allowed" in failures[2]
    assert server.keys == ["Bearer secret"] * 4
    assert "secret" not in json.dumps(server.bodies)
    code = (out / "model.py").read_text(encoding="utf-8")
    assert "# Written by agent tiny, for p2mtest::soft_clip.default, proven" in code
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["custom_ops"][0]["agent"]["tries"] == 4
    assert converted.report["custom_ops"] == config["custom_ops"]
    assert "agent tiny" in (out / "README.md").read_text(encoding="utf-8")
    tests = (out / "test_custom_ops.py").read_text(encoding="utf-8")
    assert "from agent tiny of 127.0.0.1, try 4, SHA-256 " in tests.replace("\n# ", " ")
    assert config["custom_ops"][0]["agent"]["sha256"] in tests
    assert own_tests(out) == ""
    (out / "model.py").write_text(code.replace("mx.tanh", "mx.sin"), encoding="utf-8")
    assert "off by" in own_tests(out)


def test_after_the_last_try_the_error_tells_why_and_nothing_is_written(
    serve: Any, tmp_path: Path
) -> None:
    agent = Agent(serve(WRONG, ESCAPES[0]).url, tries=2)
    with pytest.raises(LoweringError, match="only functions may be defined at the top"):
        p2m.convert(Small(), (torch.randn(2, 4),), output=tmp_path / "out", agent=agent)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_prints_and_sends_nothing(serve: Any, tmp_path: Path) -> None:
    server = serve()
    source = f"{HERE / 'models.py'}:clipped"
    command = ["convert", "-i", source, "-o", str(tmp_path / "out"), "--agent", server.url]
    result = CliRunner().invoke(app, [*command, "--agent-dry-run"])
    assert result.exit_code == 2
    assert "p2mtest::soft_clip(Tensor x, float limit=2." in result.output
    assert "Sums and differences of neighbours" in result.output
    assert not server.bodies


def test_an_address_must_be_one() -> None:
    with pytest.raises(InputError, match="is no http or https address"):
        p2m.convert(Small(), (torch.ones(2, 4),), agent=Agent("file:///etc/passwd"))


@pytest.mark.parametrize("source", ESCAPES, ids=range(len(ESCAPES)))
def test_escapes_are_rejected_before_anything_runs(source: str) -> None:
    with pytest.raises(Rejected):
        checked(source, "p2mtest_soft_clip")


def test_what_is_allowed_passes() -> None:
    assert "mx.tanh" in checked(RIGHT, "p2mtest_soft_clip")


def run(body: str) -> Any:
    """Runs what the check would refuse, to see what the process itself holds back."""
    with Sandbox(f"def f(x):\n    {body}\n", "f") as box:
        return box.run([mx.ones((2,))], {})


def test_the_process_runs_a_function() -> None:
    assert run("return x + 1").tolist() == [2.0, 2.0]


CLASSES = "().__class__.__base__.__subclasses__()"
BREAKOUTS = [
    "return open('/etc/passwd')",
    "import os",
    "return mx.load('/etc/passwd')",
    f"[c for c in {CLASSES} if c.__name__ == 'FileIO'][0]('/etc/passwd')",
    f"[c for c in {CLASSES} if c.__name__ == '_wrap_close'][0].__init__.__globals__['system']('')",
    f"[c for c in {CLASSES} if c.__name__ == '_wrap_close'][0].__init__.__globals__['fork']()",
    "return mx.zeros((1 << 36,)) + 1",
]


@pytest.mark.parametrize("body", BREAKOUTS, ids=range(len(BREAKOUTS)))
def test_the_process_holds_back_what_the_check_would_have_refused(body: str) -> None:
    with pytest.raises(SandboxError, match=r"Error|alloc"):
        run(body)


def test_the_process_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "CPU_SECONDS", 2)
    monkeypatch.setattr(sandbox, "WALL_SECONDS", 8)
    with pytest.raises(SandboxError, match="took too long"):
        run("while True:\n        pass")
