"""Inputs and outputs as plain containers: what a model takes and gives, without its own classes.

Dataclasses, ModelOutputs and namedtuples become dicts before torch.export sees them; a hook on the
root module builds the real ones again, another one makes its outputs plain. Nothing is registered
with torch's pytree, and the user's module keeps no hook.

torch writes the keys of inputs into source that it runs, so keys that are no identifiers have
another name meanwhile.
"""

from __future__ import annotations

import dataclasses
import inspect
import keyword
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.errors import CaptureError, InputError
from pytorch_to_mlx.sources.torchscript.appended import Appended

if TYPE_CHECKING:
    from torch import nn

Rebuild = Callable[[Any], Any]
GROWN_LIST = "p2m_grown_list"  # names an output that is a list whose length data decide


@dataclass
class Arguments:
    """A call: plain ``args`` and ``kwargs`` (in the signature's order) and how to undo ``plain``.

    ``names`` are forward's argument names of ``args``, then of ``kwargs``. ``own_keys`` maps keys
    that stand for others (of ``kwargs`` and of dicts within) to the user's own.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: list[tuple[str, int | None]]
    rebuilds: list[Rebuild | None]
    own_keys: dict[str, str] = field(default_factory=dict)

    def values(self) -> list[Any]:
        return [*self.args, *self.kwargs.values()]

    def with_values(self, values: list[Any]) -> Arguments:
        count = len(self.args)
        kwargs = dict(zip(self.kwargs, values[count:], strict=True))
        return dataclasses.replace(self, args=tuple(values[:count]), kwargs=kwargs)

    def by_name(self) -> dict[str, Any]:
        """forward's argument names to values under the user's own keys; ``*args`` is one tuple,
        ``**kwargs`` spread.
        """
        found: dict[str, Any] = {}
        for (name, position), plain in zip(self.names, self.values(), strict=True):
            value = self._under_own_keys(plain)
            if position is None:
                found[name] = value
            else:
                found[name] = (*found.get(name, ()), value)
        return found

    def spread(self) -> frozenset[str]:
        """The name of forward's ``*args``, if it has some."""
        return frozenset(name for name, position in self.names if position is not None)

    def _under_own_keys(self, value: Any) -> Any:
        if not self.own_keys:
            return value
        if type(value) is dict:
            own = self.own_keys
            return {own.get(k, k): self._under_own_keys(v) for k, v in value.items()}
        if type(value) in (tuple, list):
            return type(value)(self._under_own_keys(v) for v in value)
        return value

    @property
    def rebuilds_any(self) -> bool:
        return bool(self.own_keys) or any(r is not None for r in self.rebuilds)

    def rebuilt(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The user's own classes from plain values in the same places."""
        values = [*args, *(kwargs[k] for k in self.kwargs)]
        pairs = zip(values, self.rebuilds, strict=True)
        real = [v if r is None else r(v) for v, r in pairs]
        keys = [self.own_keys.get(k, k) for k in self.kwargs]
        return tuple(real[: len(args)]), dict(zip(keys, real[len(args) :], strict=True))


class Keys:
    """Hands out stand-ins for keys that torch must not write into source."""

    def __init__(self) -> None:
        self.own: dict[str, str] = {}

    def legal(self, key: Any) -> Any:
        """The key itself, if it is an integer or a plain identifier; else one of ours.

        Raises:
            InputError: the key is neither text nor an integer.
        """
        if isinstance(key, int) and not isinstance(key, bool):
            return key
        if not isinstance(key, str):
            raise InputError(
                f"an input has the key {str(key)[:60]!r} ({type(key).__name__})",
                hint="keys of nested inputs must be text or integers",
            )
        plain = key.isascii() and key.isidentifier() and not keyword.iskeyword(key)
        if plain and not key.startswith(_STAND_IN):
            return key
        stand_in = f"{_STAND_IN}{len(self.own)}"
        self.own[stand_in] = key
        return stand_in


_STAND_IN = "p2m_key_"


def bind_arguments(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Arguments:
    """Binds the example inputs to forward's signature.

    Raises:
        InputError: they do not fit it.
    """
    signature = inspect.signature(module.forward)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InputError(
            f"the example inputs do not fit {type(module).__name__}.forward{signature}: {error}"
        ) from error
    positional: list[tuple[str, int | None, Any]] = []
    keywords: list[tuple[str, Any]] = []
    given = len(args)
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            positional.extend((name, i, v) for i, v in enumerate(value))
        elif kind is inspect.Parameter.VAR_KEYWORD:
            keywords.extend(value.items())
        elif len(positional) < given and name not in kwargs:
            positional.append((name, None, value))
        else:
            keywords.append((name, value))
    keys = Keys()
    plained = [to_plain(v, keys) for *_, v in positional], [to_plain(v, keys) for _, v in keywords]
    return Arguments(
        args=tuple(v for v, _ in plained[0]),
        kwargs={keys.legal(k): v for (k, _), (v, _) in zip(keywords, plained[1], strict=True)},
        names=[(n, i) for n, i, _ in positional] + [(k, None) for k, _ in keywords],
        rebuilds=[r for part in plained for _, r in part],
        own_keys=keys.own,
    )


def to_plain(value: Any, keys: Keys | None = None) -> tuple[Any, Rebuild | None]:
    """A value as plain containers, and what rebuilds it from such (``None``: it is plain).

    With ``keys``, those of dicts become legal ones.
    """
    if isinstance(value, Mapping) and type(value) is dict:
        return _plain_items(value, keys)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        cls = type(value)
        return _force(_plain_items({k: v for k, v in items.items() if v is not None}, keys), cls)
    if isinstance(value, Mapping):
        return _force(_plain_items(dict(value), keys), type(value))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = dict(zip(value._fields, value, strict=True))
        return _force(_plain_items(fields, keys), type(value))
    if isinstance(value, (list, tuple)):
        pairs = [to_plain(v, keys) for v in value]
        kind = list if isinstance(value, list) else tuple
        rebuilds = [r for _, r in pairs]
        plain_value = kind(v for v, _ in pairs)
        if not any(rebuilds):
            return plain_value, None
        return plain_value, lambda new: kind(
            v if r is None else r(v) for v, r in zip(new, rebuilds, strict=True)
        )
    return value, None


def _plain_items(
    items: Mapping[Any, Any], keys: Keys | None
) -> tuple[dict[Any, Any], Rebuild | None]:
    legal = {k: k if keys is None else keys.legal(k) for k in items}
    pairs = {legal[k]: to_plain(v, keys) for k, v in items.items()}
    rebuilds = {k: r for k, (_, r) in pairs.items() if r is not None}
    plain_value = {k: v for k, (v, _) in pairs.items()}
    own = {new: k for k, new in legal.items()}
    if not rebuilds and all(k == new for new, k in own.items()):
        return plain_value, None
    return plain_value, lambda new: {
        own[k]: rebuilds[k](v) if k in rebuilds else v for k, v in new.items()
    }


def _force(plain_pair: tuple[dict[Any, Any], Rebuild | None], cls: Any) -> tuple[Any, Rebuild]:
    value, inner = plain_pair
    by_keyword = dataclasses.is_dataclass(cls) or hasattr(cls, "_fields")

    def rebuild(new: Any) -> Any:
        items = new if inner is None else inner(new)
        return cls(**items) if by_keyword else cls(items)

    return value, rebuild


@dataclass
class Outputs:
    """Makes a model's outputs plain; remembers what had to be left out, and the tensors' ranks."""

    dropped: dict[str, str] = field(default_factory=dict)
    ranks: list[int] = field(default_factory=list)

    def plain(self, value: Any, name: str = "") -> Any:
        """Tensors, numbers, strings and ``None`` in tuples, lists and dicts; nothing else stays."""
        import torch

        if isinstance(value, torch.Tensor):
            self.ranks.append(value.ndim)
            return value
        if value is None:
            return value
        if isinstance(value, (bool, int, float, str, torch.SymInt, torch.SymFloat, torch.SymBool)):
            return value
        if isinstance(value, Appended):
            return self._items({GROWN_LIST: value.stacked()}, name)
        if dataclasses.is_dataclass(value) and not isinstance(value, (type, Mapping)):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return self._items({k: v for k, v in fields.items() if v is not None}, name)
        if isinstance(value, Mapping):
            return self._items(value, name)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self._items(dict(zip(value._fields, value, strict=True)), name)
        if isinstance(value, (tuple, list)):
            parts = [self.plain(v, f"{name}.{i}" if name else str(i)) for i, v in enumerate(value)]
            return tuple(parts) if isinstance(value, tuple) else parts
        self.dropped[name or "output"] = type(value).__name__
        return None

    def _items(self, items: Mapping[Any, Any], name: str) -> dict[str, Any]:
        plain_items: dict[str, Any] = {}
        for key, value in items.items():
            path = f"{name}.{key}" if name else str(key)
            plain_value = self.plain(value, path)
            if str(key) in plain_items:
                raise CaptureError(
                    f"the output {name or 'dict'} has the key {str(key)!r} twice (as text and not)",
                    hint="Give its entries keys that differ as text",
                )
            if path not in self.dropped:
                plain_items[str(key)] = plain_value
        return plain_items


@contextmanager
def plain_interface(module: nn.Module, arguments: Arguments) -> Iterator[Outputs]:
    """Within, calling the module takes plain inputs and gives plain outputs."""
    outputs = Outputs()

    def enter(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return arguments.rebuilt(args, kwargs)

    def leave(_: Any, args: Any, result: Any) -> Any:
        return outputs.plain(result)

    handles = [module.register_forward_hook(leave)]
    if arguments.rebuilds_any:
        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True))
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
