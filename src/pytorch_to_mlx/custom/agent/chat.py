"""A chat endpoint of OpenAI's form."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from pytorch_to_mlx.errors import InputError

_LARGEST = 1 << 20  # bytes of an answer
_SECONDS = 180
KEYS = ("P2M_AGENT_KEY", "OPENAI_API_KEY")


@dataclass(frozen=True)
class Agent:
    """Whom to ask for missing ops, and how often for each; with ``dry_run`` nothing is sent."""

    url: str
    model: str = "default"
    tries: int = 3
    dry_run: bool = False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another place."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def endpoint(url: str) -> str:
    """The address to post to.

    Raises:
        InputError: it is no http(s) address.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"--agent {url!r} is no http or https address")
    whole = url.rstrip("/")
    return whole if whole.endswith("/chat/completions") else f"{whole}/chat/completions"


def ask(agent: Agent, messages: list[dict[str, str]]) -> str:
    """The answer's text. The key comes from the environment alone, and is sent nowhere else.

    Raises:
        InputError: the endpoint cannot be reached or gives no answer.
    """
    body = json.dumps({"model": agent.model, "messages": messages, "temperature": 0}).encode()
    request = urllib.request.Request(endpoint(agent.url), body, method="POST")
    request.add_header("Content-Type", "application/json")
    key = next((os.environ[k] for k in KEYS if os.environ.get(k)), "")
    if key:
        request.add_unredirected_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_SECONDS) as reply:
            text = reply.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise ValueError("the answer is too long")
        return str(json.loads(text)["choices"][0]["message"]["content"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(f"the agent at {agent.url} gave no answer: {error}") from error
