"""Which layers of a model are quantized, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass, field

import mlx.nn as nn

from pytorch_to_mlx.errors import ConversionError, InputError
from pytorch_to_mlx.package.run import Package
from pytorch_to_mlx.quantize.dataflow import trace
from pytorch_to_mlx.quantize.inputs import GoldenCall
from pytorch_to_mlx.quantize.recipe import Filters, Recipe, Setting, check_globs


@dataclass
class Layers:
    """The layers that MLX can quantize, what they are for, and what else holds weights.

    ``roles`` gives each "attention", "embedding", "head" or "other"; ``refused`` why a layer that
    has a quantized form must stay as it is, whatever the recipe; ``others`` why modules with
    matrices have no such form. ``untraced`` says why roles are not known.
    """

    modules: dict[str, nn.Module]
    roles: dict[str, str]
    refused: dict[str, str]
    others: dict[str, str]
    attentions: int = 0
    untraced: str | None = None

    @property
    def paths(self) -> list[str]:
        return [path for path in self.modules if path not in self.refused]


@dataclass
class Plan:
    """Settings by path, and the reason for every layer that has none."""

    recipe: Recipe
    settings: dict[str, Setting]
    left: dict[str, str] = field(default_factory=dict)


def find_layers(package: Package) -> Layers:
    """Looks at a package's model and one run of it at the recorded inputs."""
    model = package.model
    modules: dict[str, nn.Module] = {}
    refused: dict[str, str] = {}
    others: dict[str, str] = {}
    owners: dict[int, str] = {}
    for path, module in sorted(model.named_modules()):
        if hasattr(module, "to_quantized"):
            modules[path] = module
            if id(module) in owners:
                refused[path] = f"it is {owners[id(module)]} under another name"
                refused.setdefault(owners[id(module)], f"it is {path} under another name")
            owners[id(module)] = path
        elif reason := _own_matrices(module):
            others[path or "(root)"] = reason
    found = Layers(modules, dict.fromkeys(modules, "other"), refused, others)
    _trace(package, found)
    for path, module in modules.items():
        if isinstance(module, nn.Embedding):
            found.roles[path] = "embedding"
    return found


def _own_matrices(module: nn.Module) -> str | None:
    """Why a module whose own weights have two dims or more cannot be quantized."""
    names = [n for n, v in module.items() if getattr(v, "ndim", 0) >= 2 and not n.startswith("_")]
    if not names:
        return None
    kind = type(module).__name__
    if kind.startswith("Quantized"):
        return "the source has it quantized already"
    if type(module).__module__.startswith("mlx."):
        return f"MLX has no quantized nn.{kind}"
    return f"{', '.join(names)} of {kind} belongs to no layer"


def _trace(package: Package, found: Layers) -> None:
    call = GoldenCall(package)
    try:
        flow, read = trace(package.model, found.modules, call.run, call.arrays, call.bind)
    except (ValueError, RuntimeError, TypeError, ConversionError) as error:
        found.untraced = str(error).strip().partition("\n")[0]
        return
    for path in read:
        found.refused.setdefault(path, "other code than the layer itself reads its weight")
    attentions = flow.attention()
    found.attentions = len(attentions)
    for path in flow.heads():
        found.roles[path] = "head"
    for feeding, leaving in attentions:
        found.roles.update(dict.fromkeys(feeding | leaving, "attention"))


def make_plan(found: Layers, recipe: Recipe, filters: Filters, dtype: str) -> Plan:
    """Settles every layer.

    Raises:
        InputError: the recipe needs roles that are not known, names no layer, or quantizes nothing.
    """
    _check_roles(found, recipe, filters)
    paths = list(found.modules)
    recipe.check(paths)
    check_globs(filters.include, paths, "--include")
    check_globs(filters.exclude, paths, "--exclude")
    plan = Plan(recipe, {}, dict(found.others))
    for path, module in found.modules.items():
        role = found.roles[path]
        setting = recipe.setting(path, role)
        reason = (
            found.refused.get(path)
            or filters.refusal(path, role)
            or ("the recipe leaves it as it is" if setting is None else misfit(module, setting))
            or _wrong_dtype(module, setting, dtype)
        )
        if reason is None and setting is not None:
            plan.settings[path] = setting
        else:
            plan.left[path] = reason or ""
    if not plan.settings:
        some = "; ".join(f"{p}: {r}" for p, r in list(plan.left.items())[:4])
        raise InputError(f"no layer can be quantized ({some or 'the model has none'})")
    return plan


def _check_roles(found: Layers, recipe: Recipe, filters: Filters) -> None:
    needed = bool(recipe.roles) or not filters.head
    if needed and found.untraced is not None:
        raise InputError(
            f"the layers' roles are not known, for a run cannot be traced: {found.untraced}",
            hint="name the layers in a recipe",
        )
    if recipe.name == "mixed" and not found.attentions:
        raise InputError(
            "mixed gives attention 8 bits and the rest 4, but this model has no attention",
            hint="choose 8, 4 or a recipe",
        )


def misfit(module: nn.Module, setting: Setting) -> str | None:
    """Why a layer's rows do not divide into groups; ``None`` if they do."""
    width = int(module.weight.shape[-1])
    if width % setting.group_size == 0:
        return None
    fitting = [g for g in (128, 64, 32) if width % g == 0]
    hint = f" (groups of {fitting[0]} would)" if fitting and setting.mode == "affine" else ""
    return f"its {width} columns do not divide into groups of {setting.group_size}{hint}"


def _wrong_dtype(module: nn.Module, setting: Setting | None, dtype: str) -> str | None:
    if setting is None or setting.mode == "affine" or not isinstance(module, nn.Embedding):
        return None
    if dtype == "bfloat16":
        return None
    return f"MLX looks {setting.mode} embeddings up in bfloat16, and this model computes in {dtype}"
