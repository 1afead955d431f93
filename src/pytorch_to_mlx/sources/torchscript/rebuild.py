"""A ScriptModule as a plain module: the same names, the same tensors, Python in place of C++.

torch.export refuses ScriptModules. So the tree of modules is built again, each with the class name,
parameters, buffers, attributes and methods of its script, whose graphs run in Python. All of
capture (sizes, state, names) then works as for any other module.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytorch_to_mlx.errors import CaptureError
from pytorch_to_mlx.sources.torchscript.graphs import Modules, method_graph, source_line, walk
from pytorch_to_mlx.sources.torchscript.interpret import Constants, compile_block

if TYPE_CHECKING:
    import torch


def rebuild(script: torch.jit.ScriptModule) -> torch.nn.Module:
    """A module that computes what ``script`` does and shares its tensors.

    Raises:
        CaptureError: its code holds what cannot run outside TorchScript, with file and line.
    """
    if not script._c._has_method("forward") and not script._c._method_names():
        raise CaptureError("the TorchScript module has no method", hint="script one with forward")
    builder = _Builder()
    module = builder.module(script)
    builder.finish()
    module.__dict__["p2m_script"] = Original(script)
    return module


def is_rebuilt(module: torch.nn.Module) -> bool:
    """Whether a module stands for a script."""
    return "p2m_script" in module.__dict__


class Original:
    """Holds the script; a copy of the rebuilt module (in another precision) still means this one.

    Not a module, so that the script's tensors are not listed twice.
    """

    def __init__(self, script: Any) -> None:
        self._script = (script,)

    @property
    def script(self) -> Any:
        return self._script[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> Original:
        return self


class _Builder:
    def __init__(self) -> None:
        self.made: dict[int, Any] = {}  # by the id of the script, which ``scripts`` keeps alive
        self.scripts: list[Any] = []
        self.attributes: dict[int, set[str]] = {}
        self.users: dict[tuple[int, str], tuple[str, str]] = {}  # of attributes: first op, place

    def module(self, script: Any) -> Any:
        """The rebuilt module of a script, children too; shared ones once."""
        import torch

        if id(script) in self.made:
            return self.made[id(script)]
        module = torch.nn.Module.__new__(_class(script))
        torch.nn.Module.__init__(module)
        self.made[id(script)] = module
        self.scripts.append(script)
        for name, parameter in script._parameters.items():
            module._parameters[name] = _as_parameter(parameter)
        for name, buffer in script._buffers.items():
            module._buffers[name] = buffer
        for name, child in script._modules.items():
            module._modules[name] = self.module(child)
        module.training = bool(getattr(script, "training", False))
        return module

    def finish(self) -> None:
        """Compiles the methods, then copies the attributes that they use."""
        for script in self.scripts:
            module = self.made[id(script)]
            names = script._c._method_names()
            module.__dict__["p2m_methods"] = {n: self._method(module, script, n) for n in names}
        for script in self.scripts:
            module = self.made[id(script)]
            stores = (module._parameters, module._buffers, module._modules)
            used = sorted(self.attributes.get(id(script), set()) - {"training"})
            own = [n for n in used if not any(n in store for store in stores)]
            for name in own:
                user = self.users.get((id(script), name), ("", ""))
                module.__dict__[name] = _attribute(script, name, user)
            module.__dict__["p2m_attributes"] = tuple(own)
            module.__dict__["p2m_buffers"] = tuple(script._buffers.keys())

    def _method(self, module: Any, script: Any, name: str) -> Any:
        """The method as a block; or the error to raise where it is called, if it ever is."""
        try:
            graph = method_graph(script, name)
            owner = next(iter(graph.inputs())).debugName()
            block = compile_block(graph, Constants(module, owner))
            block.roots.clear()
        except CaptureError as error:
            return error
        modules = Modules(graph, script)
        for node in walk(graph):
            if node.kind() in ("prim::GetAttr", "prim::SetAttr"):
                owner = modules.of(next(iter(node.inputs())))
                if owner is not None and node.s("name") not in owner._modules:
                    self.attributes.setdefault(id(owner), set()).add(node.s("name"))
                    uses = node.output().uses() if node.outputsSize() else []
                    if uses:
                        user = (uses[0].user.kind(), _origin(uses[0].user))
                        self.users.setdefault((id(owner), node.s("name")), user)
        return block


def _as_parameter(tensor: Any) -> Any:
    import torch

    if isinstance(tensor, torch.nn.Parameter) or tensor is None:
        return tensor
    return torch.nn.Parameter(tensor, requires_grad=tensor.requires_grad)


def _attribute(script: Any, name: str, user: tuple[str, str]) -> Any:
    import torch

    value = getattr(script, name, None)
    if isinstance(value, torch.ScriptObject):
        raise CaptureError(
            f"the attribute {name} of {script.original_name} is an object of C++ "
            f"({value._type().name()})",
            op=user[0],
            origin=user[1],
            hint=_QUANTIZED if "Packed" in value._type().name() else _PLAIN,
        )
    return value


def _origin(node: Any) -> str:
    file, line = source_line(node)
    return f"{file}:{line}" if file else ""


_PLAIN = "Keep tensors, numbers, lists and dicts in the module"
_QUANTIZED = (
    "Its weights are packed for torch's quantized kernels: convert the model as it was before, "
    "and quantize the package"
)


def _class(script: Any) -> type:
    """A class of the script's name, with its methods under their names and signatures."""
    import torch

    name = script.original_name
    name = name if isinstance(name, str) and name.isidentifier() else "Module"
    methods = {m: _python_method(script, m) for m in script._c._method_names()}
    return type(name, (torch.nn.Module,), {**methods, "__module__": "torchscript"})


def _python_method(script: Any, name: str) -> Callable[..., Any]:
    signature = _signature(script._c._get_method(name).schema)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        block = self.p2m_methods[name]
        if isinstance(block, CaptureError):
            raise block
        env = dict(zip(block.inputs, bound.arguments.values(), strict=True))
        (result,) = block.run(env)
        return result

    method.__name__ = name
    method.__signature__ = signature  # type: ignore[attr-defined]
    return method


def _signature(schema: Any) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = []
    for i, argument in enumerate(schema.arguments):
        given = argument.has_default_value()
        default = argument.default_value if given else inspect.Parameter.empty
        name = argument.name if argument.name.isidentifier() else f"x{i}"
        parameters.append(inspect.Parameter("self" if i == 0 else name, kind, default=default))
    return inspect.Signature(parameters)
