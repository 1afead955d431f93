"""Committed listings keep the rules of readable code; the rules find what they name."""

from __future__ import annotations

import ast

import pytest

from tests.golden.conversion import path_of
from tests.golden.lint import RULES, ruff
from tests.golden.models import MODELS

# For each rule a method body (or class) that breaks it.
BAD = {
    "no_trace_names": "getitem_3 = x\n        return getitem_3",
    "no_numbered_twins": "h = x\n        h2 = h + x\n        return h2",
    "no_adjacent_transposes": "x = x.transpose(0, 2, 1)\n        return x.transpose(0, 2, 1)",
    "no_adjacent_casts": "return x.astype(mx.float32).astype(mx.float16)",
    "no_adjacent_reshapes": "return x.reshape(-1, 4).reshape(2, -1)",
    "no_whole_slices": "return x[:, :]",
    "no_idle_broadcasts": "return x + mx.broadcast_to(self.w, (2, 3))",
    "no_constant_logic": "return mx.array(True) & x",
    "no_unused_locals": "B, T = x.shape\n        return x.reshape(B, -1)",
    "no_calls_of_grandchildren": "return self.layers[0].inner(x)",
    "lists_are_looped": "x = self.layers[0](x)\n        return self.layers[1](x)",
}

CLASS = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = mx.zeros((3,))
        self.layers = [Layer(3), Layer(3)]

    def __call__(self, x):
        {body}
"""

USES = "for layer in self.layers:\n            x = layer(x)\n        return x * self.w"


def offences(rule: str, code: str) -> list[str]:
    return [str(o) for o in RULES[rule](ast.parse(code))]


@pytest.mark.parametrize("name", list(MODELS))
def test_compiles_and_ruff_is_silent(name: str) -> None:
    code = path_of(name).read_text(encoding="utf-8")
    compile(code, f"{name}.py", "exec")
    assert ruff(code) == ""


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("name", list(MODELS))
def test_listing_keeps(name: str, rule: str) -> None:
    assert offences(rule, path_of(name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", list(MODELS))
def test_one_class_makes_the_layers_of_a_stack(name: str) -> None:
    """No class of the source has more than two forms here."""
    tree = ast.parse(path_of(name).read_text(encoding="utf-8"))
    sources: dict[str, int] = {}
    for cls in (n for n in tree.body if isinstance(n, ast.ClassDef)):
        source = (ast.get_docstring(cls) or "").partition(" ")[0]
        sources[source] = sources.get(source, 0) + 1
    assert max(sources.values()) <= 2, sources


@pytest.mark.parametrize("rule", list(BAD))
def test_rule_finds(rule: str) -> None:
    assert offences(rule, CLASS.format(body=BAD[rule]))
    assert not offences(rule, CLASS.format(body=USES))


def test_rules_find_what_is_unused_or_double() -> None:
    model = CLASS.format(body=USES)
    assert not offences("no_unused_attributes", model)
    assert offences("no_unused_attributes", model.replace("return x * self.w", "return x"))
    helper = "def double(x):\n    return 2 * x\n"
    assert offences("no_unused_helpers", helper + model)
    assert not offences("no_unused_helpers", helper + model.replace("x * self.w", "double(x)"))
    twin = model.replace("class Model", "class Twin").replace("x", "h").replace("mh.", "mx.")
    assert offences("no_equal_classes", model + twin)
    assert not offences("no_equal_classes", model + twin.replace("* self.w", "+ self.w"))
    bag = "class Bag(nn.Module):\n    def __init__(self):\n        self.w = mx.zeros((3,))\n"
    assert offences("every_class_is_called", bag + model)
    assert not offences("every_class_is_called", model)
    here = "no_unused_attributes no_unused_helpers no_equal_classes every_class_is_called"
    assert set(BAD) | set(here.split()) == set(RULES)
