"""What a user asks for: bits a layer, by name, by role or by a recipe file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pytorch_to_mlx.errors import InputError

#: Modes of ``mx.quantize``: default group size and bits, then what may be chosen.
MODES: dict[str, tuple[int, int, tuple[int, ...], tuple[int, ...]]] = {
    "affine": (64, 4, (32, 64, 128), (2, 3, 4, 5, 6, 8)),
    "mxfp4": (32, 4, (32,), (4,)),
    "mxfp8": (32, 8, (32,), (8,)),
    "nvfp4": (16, 4, (16,), (4,)),
}
ROLES = ("attention", "embedding", "head", "other")
#: By how much of its norm an output may move when activations are no longer rounded to codes.
FOLD_LIMIT = 0.15
NAMES = "8, 4, mixed, mxfp4, mxfp8, nvfp4, auto or a recipe (.json)"


@dataclass(frozen=True)
class Setting:
    """How one layer is quantized.

    Raises:
        InputError: ``mx.quantize`` has no such combination.
    """

    bits: int = 4
    group_size: int = 64
    mode: str = "affine"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"there is no mode {self.mode!r}", hint=f"one of {', '.join(MODES)}")
        _, _, sizes, bits = MODES[self.mode]
        if self.group_size not in sizes:
            raise InputError(f"{self.mode} has groups of {_any_of(sizes)}, not {self.group_size}")
        if self.bits not in bits:
            raise InputError(f"{self.mode} has {_any_of(bits)} bits, not {self.bits}")

    def to_dict(self) -> dict[str, Any]:
        return {"bits": self.bits, "group_size": self.group_size, "mode": self.mode}

    @classmethod
    def of(cls, given: Mapping[str, Any], group_size: int | None = None) -> Setting:
        """From a recipe's entry; what it leaves out is the mode's default."""
        unknown = set(given) - {"bits", "group_size", "mode"}
        if unknown:
            raise InputError(f"a recipe's entry has no {sorted(unknown)[0]!r}")
        mode = given.get("mode", "affine")
        if mode not in MODES:
            raise InputError(f"there is no mode {mode!r}", hint=f"one of {', '.join(MODES)}")
        size, bits = MODES[mode][:2]
        if mode == "affine" and group_size is not None:
            size = group_size
        values = given.get("bits", bits), given.get("group_size", size)
        if any(isinstance(v, bool) or not isinstance(v, int) for v in values):
            raise InputError("bits and group_size of a recipe's entry are whole numbers")
        return cls(*values, mode)


@dataclass(frozen=True)
class Recipe:
    """Settings by path or glob (an exact path wins, else the last glob that matches), then by role,
    then the default; ``None`` leaves a layer as it is.
    """

    name: str
    default: Setting | None
    layers: Mapping[str, Setting | None] = field(default_factory=dict)
    roles: Mapping[str, Setting | None] = field(default_factory=dict)

    def setting(self, path: str, role: str) -> Setting | None:
        if path in self.layers:
            return self.layers[path]
        matching = [s for glob, s in self.layers.items() if fnmatchcase(path, glob)]
        return matching[-1] if matching else self.roles.get(role, self.default)

    def check(self, paths: Iterable[str]) -> None:
        """Refuses entries that match no layer, so that a misspelt one is not silently without
        effect.
        """
        known = list(paths)
        check_globs(self.layers, known, "the recipe's")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as its file has it."""
        return {
            "default": _entry(self.default),
            "layers": {path: _entry(s) for path, s in self.layers.items()},
            **({"roles": {r: _entry(s) for r, s in self.roles.items()}} if self.roles else {}),
        }


@dataclass(frozen=True)
class Filters:
    """Which layers may be quantized at all: globs over paths, embeddings and heads or not."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    embeddings: bool = True
    head: bool = True

    def refusal(self, path: str, role: str) -> str | None:
        """Why a layer is left out; ``None`` if it is not."""
        if self.include and not any(fnmatchcase(path, glob) for glob in self.include):
            return "not included"
        if any(fnmatchcase(path, glob) for glob in self.exclude):
            return "excluded"
        if role == "embedding" and not self.embeddings:
            return "embeddings are left out"
        if role == "head" and not self.head:
            return "the head is left out"
        return None


def check_globs(globs: Iterable[str], paths: list[str], whose: str) -> None:
    """Refuses globs that match no path."""
    for glob in globs:
        if glob not in paths and not any(fnmatchcase(p, glob) for p in paths):
            some = ", ".join(paths[:4])
            raise InputError(f"{whose} {glob!r} is no layer", hint=f"layers are {some}, ...")


def recipe_of(given: Any, group_size: int | None = None) -> Recipe:
    """A recipe from what the user gives: bits, a name, a file, its content, or a recipe.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(given, Recipe):
        return given
    if isinstance(given, Mapping):
        return _from_json(given, "recipe", group_size)
    text = str(given)
    if text == "mixed":
        eight = Setting.of({"bits": 8}, group_size)
        roles = dict.fromkeys(("attention", "embedding", "head"), eight)
        return Recipe("mixed", Setting.of({"bits": 4}, group_size), roles=roles)
    if text == "auto":  # what the budget allows beyond this is chosen by measurement
        return Recipe("auto", Setting.of({"bits": 4}, group_size))
    if text in MODES and text != "affine":
        if group_size not in (None, MODES[text][0]):
            raise InputError(f"{text} has groups of {MODES[text][0]}, not {group_size}")
        return Recipe(text, Setting.of({"mode": text}))
    if text.isdecimal():
        return Recipe(f"{text} bits", Setting.of({"bits": int(text)}, group_size))
    path = Path(text)
    if path.suffix != ".json":
        raise InputError(f"cannot quantize as {text!r}", hint=f"choose {NAMES}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the recipe {path} cannot be read: {error}") from error
    return _from_json(content, path.name, group_size)


def fold_limit(given: Any, options: Mapping[str, Any]) -> float | None:
    """For ``"source"``, by how much of its norm folding may move an output; ``None`` for others.

    Raises:
        InputError: other options come with it.
    """
    if given != "source":
        return None
    other = sorted(k for k in options if k != "limit")
    if other:
        raise InputError(f"{other[0]} has no effect on the weights that the source has quantized")
    limit = options.get("limit")
    return FOLD_LIMIT if limit is None else float(limit)


def wanted_recipe(given: Any, options: Mapping[str, Any]) -> Recipe | None:
    """The recipe of a conversion, read before anything long begins; ``None`` without one."""
    if given is None:
        if options:
            raise InputError(f"{sorted(options)[0]} has no effect without quantize")
        return None
    return recipe_of(given, options.get("group_size"))


def _from_json(content: Any, name: str, group_size: int | None) -> Recipe:
    """``{"default": entry, "layers": {path or glob: entry}, "roles": {role: entry}}``, an entry
    being ``{"bits": 8, "group_size": 64, "mode": "affine"}`` or false.
    """
    if not isinstance(content, Mapping) or set(content) - {"default", "layers", "roles"}:
        raise InputError("a recipe is an object with 'default', 'layers' and 'roles'")
    tables = {}
    for key in ("layers", "roles"):
        table = content.get(key, {})
        if not isinstance(table, Mapping):
            raise InputError(f"the recipe's {key!r} is no object")
        tables[key] = {str(k): _setting(str(k), v, group_size) for k, v in table.items()}
    unknown = set(tables["roles"]) - set(ROLES)
    if unknown:
        raise InputError(f"there is no role {sorted(unknown)[0]!r}", hint=", ".join(ROLES))
    default = _setting("default", content.get("default", False), group_size)
    return Recipe(name, default, tables["layers"], tables["roles"])


def _setting(where: str, entry: Any, group_size: int | None) -> Setting | None:
    if entry is False or entry is None:
        return None
    if not isinstance(entry, Mapping):
        raise InputError(f"the recipe's {where!r} is neither an object nor false")
    return Setting.of(entry, group_size)


def _entry(setting: Setting | None) -> dict[str, Any] | bool:
    return False if setting is None else setting.to_dict()


def _any_of(values: tuple[int, ...]) -> str:
    return " or ".join(str(v) for v in values)
