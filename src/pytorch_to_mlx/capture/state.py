"""State that a module keeps between calls: found by calling it, lifted to buffers for the export.

``torch.export`` turns in-place changes of buffers into outputs, but drops *assignments* silently,
be it ``self.h = self.h + x`` on a plain attribute or on a registered buffer. Such tensors become
buffers while the model is traced; what forward assigns to them is written there at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.capture.snapshot import Snapshot
from pytorch_to_mlx.capture.tensors import attribute_tensors
from pytorch_to_mlx.capture.tree import join
from pytorch_to_mlx.errors import CaptureError

if TYPE_CHECKING:
    import torch
    from torch import nn

_BUFFER_HINT = (
    "Register it in __init__ as a buffer of fixed shape (self.register_buffer) and update that"
)


@dataclass(frozen=True)
class Slot:
    """A tensor attribute or buffer of one submodule."""

    path: str
    module: Any
    name: str
    value: Any
    is_buffer: bool

    @property
    def full_name(self) -> str:
        return join(self.path, self.name)


@dataclass
class State:
    """What forward changes: tensors to ``lift``, buffers changed ``in_place``."""

    lift: list[Slot]
    in_place: list[str]
    warnings: list[str]

    @property
    def changed(self) -> set[str]:
        """Full names of all that forward changes."""
        return {slot.full_name for slot in self.lift} | set(self.in_place)


def find_state(module: nn.Module, call: Callable[[], list[Any]], snapshot: Snapshot) -> State:
    """Calls the model twice from its present state and compares what it keeps.

    ``call`` returns the flat outputs. The caller restores the module (``snapshot``).

    Raises:
        CaptureError: state that cannot become a buffer, by name: a tensor that forward creates or
            whose shape it changes, a list that it grows, a number that changes its outputs, a
            parameter that it writes.
    """
    first_slots, first = _slots(module), _values(module)
    numbers = _numbers(module)
    nested = _nested(module)
    before = call()
    middle, between = _values(module), _numbers(module)
    after = call()
    last, final = _values(module), _numbers(module)
    if changed := snapshot.changed_parameters():
        raise CaptureError(
            f"forward changes the parameter {changed[0]}",
            hint="Parameters are constants of a converted model; make it a buffer if it is state",
        )
    depends = not _close(before, after)
    lift, in_place, unchanged = _changed_slots(module, first_slots, (first, middle, last), depends)
    kept = {slot.full_name for slot in lift} | set(in_place)
    created = [n for n in last if n not in first and not _equal(middle.get(n), last[n])]
    created += [n for n in middle if n not in first and n not in created]
    if depends and created:
        _refuse(created[0], "is created by forward and changes what the next call gives")
    grown = [n for n in final if n in between and final[n] != between[n]]
    if depends and grown and not kept:
        _refuse(grown[0], "changes at every call and so do the outputs")
    inside = [n for n, value in _nested(module).items() if not _equal(value, nested.get(n))]
    if depends and inside and not kept:
        _refuse(inside[0], "changes at every call and so do the outputs")
    if depends and not kept:
        raise CaptureError(
            "the same inputs give different outputs at a second call, but no tensor changed",
            hint="Keep state in a buffer that forward updates; draw random numbers with torch",
        )
    changing = [n for n in final if n in numbers and final[n] != numbers[n] and n not in kept]
    warnings = [
        f"{n} changes when forward is called; the converted model keeps {numbers[n]!r}"
        for n in changing
        if isinstance(numbers[n], (int, float)) and final[n] != between.get(n)
    ]
    kept |= {slot.full_name for slot in _read_first(unchanged, before, call, snapshot)}
    lift = [slot for name, slot in first_slots.items() if name in kept and name not in in_place]
    return State(lift, in_place, warnings)


def _read_first(
    slots: list[Slot], before: list[Any], call: Callable[[], list[Any]], snapshot: Snapshot
) -> list[Slot]:
    """Those of the assigned ``slots`` whose old value the outputs depend on.

    The inputs at hand may assign what was there before (zeros to zeros), so other values are put
    there. All at once first: mostly forward computes such tensors anew before it reads them.
    """
    if not slots or not _depends(slots, before, call, snapshot):
        return []
    return [slot for slot in slots if _depends([slot], before, call, snapshot)]


def _depends(
    slots: list[Slot], before: list[Any], call: Callable[[], list[Any]], snapshot: Snapshot
) -> bool:
    """Whether other values in ``slots`` change the outputs ``before``, and are written over."""
    import torch

    snapshot.restore()
    others = [s.value + torch.ones_like(s.value) for s in slots]
    for slot, other in zip(slots, others, strict=True):
        _write(slot, other.detach())
    try:
        after = call()
    except Exception:  # noqa: BLE001 - the original does not take such a value; it may be an index
        return len(slots) > 1  # the others are tried one by one
    finally:
        written = [_read(slot) for slot in slots]
        snapshot.restore()
    kept = all(_equal(now, other) for now, other in zip(written, others, strict=True))
    return not kept and not _close(before, after)


def _write(slot: Slot, value: Any) -> None:
    store = slot.module._buffers if slot.is_buffer else slot.module.__dict__
    store[slot.name] = value


def _read(slot: Slot) -> Any:
    store = slot.module._buffers if slot.is_buffer else slot.module.__dict__
    return store.get(slot.name)


def _changed_slots(
    module: nn.Module,
    slots: dict[str, Slot],
    values: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
    depends: bool,
) -> tuple[list[Slot], list[str], list[Slot]]:
    """The slots to lift, the buffers changed in place, and slots that were assigned equal values.

    ``values`` are those before and after two calls.
    """
    lift: list[Slot] = []
    in_place: list[str] = []
    unchanged: list[Slot] = []
    now = _slots(module)
    parameters = {p.untyped_storage().data_ptr() for p in module.parameters()}
    for name, slot in slots.items():
        old = values[0][name]
        mid, new = values[1].get(name), values[2].get(name)
        assigned = name not in now or now[name].value is not slot.value
        shares = assigned and slot.value.untyped_storage().data_ptr() in parameters
        if _equal(mid, new) and (_equal(old, mid) or (assigned and not depends)):
            # Never changes; or is recomputed by every call, like spectral_norm's weight.
            if assigned and not shares and mid is not None and mid.shape == old.shape:
                unchanged.append(slot)
            continue
        if shares:
            continue
        if mid is None or new is None or old.shape != new.shape or old.dtype != new.dtype:
            _refuse(name, f"changes its shape or type (it starts as {_describe(old)})")
        if assigned or not slot.is_buffer:
            lift.append(slot)
        else:
            in_place.append(name)
    return lift, in_place, unchanged


def _refuse(name: str, what: str) -> None:
    raise CaptureError(f"the state {name} {what}", module_path=name, hint=_BUFFER_HINT)


def _describe(tensor: Any) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _slots(module: nn.Module) -> dict[str, Slot]:
    """Every buffer and plain tensor attribute by full name."""
    import torch

    found: dict[str, Slot] = {}
    for path, sub in module.named_modules():
        for name, value in sub._buffers.items():
            if value is not None:
                slot = Slot(path, sub, name, value, True)
                found[slot.full_name] = slot
        for name, value in sub.__dict__.items():
            if isinstance(value, torch.Tensor):
                slot = Slot(path, sub, name, value, False)
                found[slot.full_name] = slot
    return found


def _values(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: slot.value.detach().clone() for name, slot in _slots(module).items()}


def _numbers(module: nn.Module) -> dict[str, Any]:
    """Numbers, strings and the lengths of containers among the attributes, by full name."""
    found: dict[str, Any] = {}
    for path, sub in module.named_modules():
        for name, value in sub.__dict__.items():
            if (name.startswith("_") and name in _INTERNAL) or name == "training":
                continue
            if isinstance(value, (bool, int, float, str)):
                found[join(path, name)] = value
            elif isinstance(value, (list, dict, tuple, set)):
                found[join(path, name)] = f"{len(value)} entries"
    return found


def _nested(module: nn.Module) -> dict[str, torch.Tensor]:
    """Tensors inside lists, dicts and objects that are plain attributes, by full name."""
    parameters = {id(p) for p in module.parameters()}
    return {
        name: tensor.detach().clone()
        for name, tensor in attribute_tensors(module)
        if id(tensor) not in parameters
    }


_INTERNAL = frozenset(
    ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_is_full_backward_hook")
)


def _equal(a: Any, b: Any) -> bool:
    """Bitwise equality of tensors (NaN included) and of nested lists of them."""
    import torch

    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        return torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) and torch.equal(
            torch.isnan(a), torch.isnan(b)
        )
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return a is b or bool(a == b)


def _close(before: list[Any], after: list[Any]) -> bool:
    """Whether two calls gave the same, but for the order of parallel sums."""
    import torch

    if len(before) != len(after):
        return False
    for a, b in zip(before, after, strict=True):
        if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
            if not _equal(a, b):
                return False
        elif a.shape != b.shape or a.dtype != b.dtype:
            return False
        elif a.is_floating_point() and a.numel():
            scale = float(torch.nan_to_num(a, posinf=0.0, neginf=0.0).abs().max())
            if not torch.allclose(a, b, rtol=1e-5, atol=1e-6 * scale, equal_nan=True):
                return False
        elif not _equal(a, b):
            return False
    return True


@contextmanager
def lifted(module: nn.Module, slots: list[Slot]) -> Iterator[None]:
    """Within, the slots are buffers, and forward's assignments to them are copied in at its end.

    During forward an assigned tensor shadows the buffer (a tensor read earlier keeps its value, as
    in Python); the caller's snapshot restores the module.
    """
    if not slots:
        yield
        return
    import torch
    from torch import nn

    names: dict[int, set[str]] = {}
    for slot in slots:
        names.setdefault(id(slot.module._buffers), set()).add(slot.name)
        if not slot.is_buffer:
            slot.module.__dict__.pop(slot.name)
            slot.module._buffers[slot.name] = slot.value
    active = [False]
    original = nn.Module.__setattr__

    def shadowing(self: Any, name: str, value: Any) -> None:
        buffers = id(self.__dict__.get("_buffers"))
        if active[0] and name in names.get(buffers, ()) and isinstance(value, torch.Tensor):
            self.__dict__[name] = value
        else:
            original(self, name, value)

    def begin(*_: Any) -> None:
        active[0] = True

    def commit(*_: Any) -> None:
        active[0] = False
        for slot in slots:
            if slot.name in slot.module.__dict__:
                value = slot.module.__dict__.pop(slot.name)
                slot.module._buffers[slot.name].copy_(value)

    handles = [module.register_forward_pre_hook(begin), module.register_forward_hook(commit)]
    nn.Module.__setattr__ = shadowing
    try:
        yield
    finally:
        nn.Module.__setattr__ = original
        for handle in handles:
            handle.remove()
        for slot in slots:
            slot.module.__dict__.pop(slot.name, None)
            slot.module._buffers.pop(slot.name, None)
            target = slot.module._buffers if slot.is_buffer else slot.module.__dict__
            target[slot.name] = slot.value
