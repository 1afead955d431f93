"""Writes two modules of one source class in one general form, where they differ only in options.

What may differ (beside numbers, which become constructor arguments anyway):

- a child that one lacks: ``self.shortcut = Conv(...) if shortcut else nn.Identity()``;
- an activation that one lacks: ``self.activation = nn.relu if activation else nn.Identity()``;
- an attention mask that one lacks, or that is a constant such as ``"causal"``;
- an argument that is another one in the special case: ``key_value`` is ``x`` in self-attention.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pytorch_to_mlx.codegen.context import Method
from pytorch_to_mlx.codegen.names import unique
from pytorch_to_mlx.codegen.queries import in_order, is_slot

# Calls whose keyword may be missing, which is the same as None.
_OPTIONAL = {"mx.fast.scaled_dot_product_attention": "mask"}
_ACTIVATIONS = frozenset(
    "nn.relu nn.silu nn.gelu nn.gelu_approx nn.relu6 nn.elu nn.hardswish mx.tanh mx.sigmoid".split()
)


class Unset(int):
    """A number that does not matter: one of a child that the module lacks."""


UNSET = Unset()


@dataclass
class Form:
    """A module's constructor statements and its method."""

    init: list[ast.stmt]
    method: Method


@dataclass
class Unified:
    """Both modules in the general form; ``renamed`` leads from special to general arguments."""

    general: Form
    special: Form
    renamed: dict[str, str]


class _Differ(Exception):
    """The two modules have no common form."""


def unify(general: Form, special: Form) -> Unified | None:
    """The two in one form, where ``general`` has what ``special`` may lack; None if there is none.

    A mask may be missing in either.
    """
    try:
        return _Pair(general, special).run()
    except _Differ:
        return None


def _require(condition: object) -> None:
    if not condition:
        raise _Differ


@dataclass
class _Pair:
    a: Form
    b: Form
    names: dict[str, str] = field(default_factory=dict)  # a's locals and arguments: b's
    missing: set[str] = field(default_factory=set)  # children that b lacks
    added: list[str] = field(default_factory=list)  # arguments that only b has
    activation: str = ""

    def run(self) -> Unified:
        init = self._init()
        body = copy.deepcopy(self.a.method.body)
        self._block(_canonical(body), _canonical(copy.deepcopy(self.b.method.body)))
        optional = self._optional(body)
        prologue = [
            ast.parse(f"if {n} is None:\n    {n} = {other}").body[0]
            for n, other in optional.items()
            if other and n not in self.a.method.optional
        ]
        body = [ast.fix_missing_locations(s) for s in (*prologue, *body)]
        names = [*self.a.method.arguments, *self.added]
        names = [n for n in names if n not in optional] + [n for n in names if n in optional]
        _require(not (self.a.method.extra or self.b.method.extra) or not optional)
        if self.activation:
            init.append(self._activation())
        forms = []
        for which, form in enumerate((self.a, self.b)):
            own_init, own_body = _chosen(init, which), _chosen(body, which)
            changes: dict[str, Any] = {"arguments": names, "optional": optional}
            forms.append(Form(own_init, replace(form.method, body=own_body, **changes)))
        renamed = {n: n for n in self.added}
        for name in self.a.method.arguments:
            if name in self.names:
                renamed.setdefault(self.names[name], name)
        _require(set(renamed) == set(self.b.method.arguments))
        return Unified(forms[0], forms[1], renamed)

    # -- constructors ----------------------------------------------------------------------------

    def _init(self) -> list[ast.stmt]:
        mine, theirs = _children(self.a.init), _children(self.b.init)
        _require([n for n in mine if n in theirs] == list(theirs))
        init: list[ast.stmt] = []
        for name, statement in mine.items():
            made = copy.deepcopy(statement)
            if name in theirs:
                made.value = self._constructor(name, made.value, theirs[name].value)
            else:
                self.missing.add(name)
                made.value = _without(name, made.value)
            init.append(made)
        _require(len(self.missing) <= 1)
        return init

    def _constructor(self, name: str, a: ast.expr, b: ast.expr) -> ast.expr:
        """A child that both have, perhaps only under a condition."""
        if isinstance(a, ast.IfExp) and not isinstance(b, ast.IfExp):
            self._same(a.body, b)
            a.test.__dict__["pair"] = (a.test.value, True)  # type: ignore[attr-defined]
        elif isinstance(b, ast.IfExp) and not isinstance(a, ast.IfExp):
            self._same(a, b.body)
            flag = _labelled(name, (True, b.test.value))  # type: ignore[attr-defined]
            a = ast.IfExp(flag, a, b.orelse)
        else:
            self._same(a, b)
        return a

    def _activation(self) -> ast.stmt:
        _require("activation" not in _children(self.a.init))
        flag = _labelled("activation", (True, False))
        function = ast.parse(self.activation, mode="eval").body
        value = ast.IfExp(flag, function, ast.parse("nn.Identity()", mode="eval").body)
        target = ast.parse("self.activation = 0").body[0]
        target.value = value  # type: ignore[attr-defined]
        return target

    # -- arguments -------------------------------------------------------------------------------

    def _optional(self, body: Sequence[ast.stmt]) -> dict[str, str]:
        """Arguments that may be left out: by name, the argument that is taken then (or none)."""
        arguments, theirs = self.a.method.arguments, self.b.method.arguments
        optional = dict(self.a.method.optional)
        _require(all(n in self.names.values() or n in self.added for n in theirs))
        first: dict[str, str] = {}
        for name in arguments:
            of = self.names.get(name)
            if of is None:
                optional.setdefault(name, "")
            elif of in first:
                optional.setdefault(name, first[of])
                written = _stored([*body, *self.b.method.body])
                _require(not written & {name, first[of], of})
            else:
                _require(of in theirs)
                first[of] = name
        optional.update(dict.fromkeys(self.added, ""))
        _require(all(n in self.added or n in self._kept(optional) for n in self.b.method.optional))
        return optional

    def _kept(self, optional: dict[str, str]) -> set[str]:
        """What of the special form's optional arguments is optional in the general form too."""
        return {of for name, of in self.names.items() if name in optional}

    # -- bodies ----------------------------------------------------------------------------------

    def _block(self, a: Sequence[ast.stmt], b: Sequence[ast.stmt]) -> None:
        i = 0
        for theirs in b:
            while i < len(a) and self._is_skipped(a[i], theirs):
                i += 1
            _require(i < len(a))
            self._same(a[i], theirs)
            i += 1
        _require(i == len(a))

    def _is_skipped(self, a: ast.stmt, b: ast.stmt) -> bool:
        """Whether a statement does nothing but apply a child that b lacks."""
        if isinstance(a, ast.For):
            return _attribute(a.iter) in self.missing
        call = a.value if isinstance(a, ast.Assign) else None
        if not isinstance(call, ast.Call) or _attribute(call.func) not in self.missing:
            return False
        target = a.targets[0]  # type: ignore[attr-defined]
        if not isinstance(target, ast.Name) or not isinstance(call.args[0], ast.Name):
            return False
        source = call.args[0].id
        if target.id != source:
            self.names[target.id] = self.names.get(source, source)
        return True

    def _same(self, a: Any, b: Any) -> None:
        """Walks both trees; notes what differs in the allowed ways on a's nodes."""
        if isinstance(a, ast.Call) and self._is_left_out(a, b):
            return
        _require(type(a) is type(b))
        if isinstance(a, list):
            _require(len(a) == len(b))
            for x, y in zip(a, b, strict=True):
                self._same(x, y)
        elif isinstance(a, ast.Name):
            self._name(a.id, b.id)
        elif isinstance(a, ast.Constant) and is_slot(a) and is_slot(b):
            _note(a, b.value)
        elif isinstance(a, ast.AST):
            keywords = isinstance(a, ast.Call) and self._keywords(a, b)
            for f in a._fields:
                if not (keywords and f == "keywords") and f not in ("kind", "type_comment"):
                    self._same(getattr(a, f, None), getattr(b, f, None))
        else:
            _require(a == b)

    def _name(self, a: str, b: str) -> None:
        if a not in _own(self.a.method) or b not in _own(self.b.method):
            _require(a == b)  # a class, a function or a module
            return
        known = self.names.setdefault(a, b)
        _require(known == b)
        if a not in self.a.method.arguments:
            _require(b not in self.b.method.arguments)
            _require([n for n, of in self.names.items() if of == b] == [a])

    def _is_left_out(self, a: ast.Call, b: Any) -> bool:
        """Whether a calls a missing child, or an activation that b lacks, on what b has."""
        if len(a.args) != 1 or a.keywords or (isinstance(b, ast.Call) and _equal(a.func, b.func)):
            return False
        if isinstance(a.func, ast.Attribute) and a.func.attr in self.missing:
            _require(_attribute(a.func))
            self._same(a.args[0], b)
            return True
        text = ast.unparse(a.func)
        if text in _ACTIVATIONS and self.activation in ("", text) and isinstance(b, ast.expr):
            self._same(a.args[0], b)
            self.activation = text
            a.__dict__["origin"].func = ast.parse("self.activation", mode="eval").body
            return True
        return False

    def _keywords(self, a: ast.Call, b: ast.Call) -> bool:
        """Compares keywords where one may be missing; False where all are as usual."""
        keyword = _OPTIONAL.get(ast.unparse(a.func))
        if keyword is None:
            return False
        ours, theirs = {k.arg: k.value for k in a.keywords}, {k.arg: k.value for k in b.keywords}
        _require(set(ours) - {keyword} == set(theirs) - {keyword})
        for name in set(ours) & set(theirs) - {keyword}:
            self._same(ours[name], theirs[name])
        self._mask(a, keyword, ours.get(keyword), theirs.get(keyword))
        return True

    def _mask(self, call: ast.Call, keyword: str, a: ast.expr | None, b: ast.expr | None) -> None:
        if a is None and b is None:
            return
        if (a is None or isinstance(a, ast.Constant)) and (
            b is None or isinstance(b, ast.Constant)
        ):
            values = tuple(None if x is None else x.value for x in (a, b))
            slot = _labelled(keyword, values)
            call.__dict__["origin"].keywords = [
                k for k in call.__dict__["origin"].keywords if k.arg != keyword
            ] + [ast.keyword(keyword, slot)]
        elif a is not None and b is not None:
            self._same(a, b)
        elif b is None:
            _require(isinstance(a, ast.Name) and a.id in self.a.method.arguments)
        else:
            _require(isinstance(b, ast.Name) and b.id in self.b.method.arguments)
            name = unique(b.id, {*self.a.method.arguments, *_stored(self.a.method.body)})  # type: ignore[attr-defined]
            _require(name == b.id and name not in self.names.values())  # type: ignore[attr-defined]
            self.added.append(name)
            new = ast.keyword(keyword, ast.Name(name, ast.Load()))
            call.__dict__["origin"].keywords.append(new)


def _children(init: list[ast.stmt]) -> dict[str, ast.Assign]:
    found: dict[str, ast.Assign] = {}
    for s in init:
        _require(isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Attribute))
        found[s.targets[0].attr] = s  # type: ignore[attr-defined, assignment]
    return found


def _without(name: str, value: ast.expr) -> ast.expr:
    """A child that is there only under a condition."""
    if isinstance(value, ast.IfExp):
        value.test.__dict__["pair"] = (value.test.value, False)  # type: ignore[attr-defined]
        inner, nothing = value.body, value.orelse
    else:
        is_list = isinstance(value, (ast.List, ast.ListComp))
        _require(is_list or isinstance(value, ast.Call))
        _require("mx.zeros" not in ast.unparse(value))
        inner = value
        nothing = ast.parse("[]" if is_list else "nn.Identity()", mode="eval").body
        value = ast.IfExp(_labelled(name, (True, False)), inner, nothing)
    for node in in_order(inner):
        if is_slot(node):
            _note(node, UNSET)
    return value


def _labelled(label: str, pair: tuple[Any, ...]) -> ast.Constant:
    """A constant that is to become the constructor argument ``label``."""
    slot = ast.Constant(pair[0])
    slot.__dict__.update(label=label, pair=pair)
    return slot


def _note(a: Any, other: Any) -> None:
    """Records the other module's value, on the node that will be written."""
    a.__dict__.get("origin", a).__dict__["pair"] = (a.value, other)


def _chosen(statements: Sequence[ast.stmt], which: int) -> list[ast.stmt]:
    """A copy with one module's values in the constants that both have."""
    made = [copy.deepcopy(s) for s in statements]
    for node in (n for s in made for n in ast.walk(s)):
        pair = node.__dict__.pop("pair", None)
        if pair is not None:
            node.value = pair[which]  # type: ignore[attr-defined]
    return made


def _attribute(e: ast.expr) -> str:
    """``name`` of ``self.name`` or ``self.name[1:]``; else nothing."""
    e = e.value if isinstance(e, ast.Subscript) else e
    own = isinstance(e, ast.Attribute) and isinstance(e.value, ast.Name) and e.value.id == "self"
    return e.attr if own and isinstance(e, ast.Attribute) else ""


def _equal(a: ast.AST, b: ast.AST) -> bool:
    return ast.dump(a) == ast.dump(b)


def _own(method: Method) -> set[str]:
    """Names of a method that mean nothing outside: its arguments and locals."""
    return {*method.arguments, *_stored(method.body)}


def _stored(body: Sequence[ast.stmt]) -> set[str]:
    """Names that statements assign, beside those that fill in an argument that was left out."""
    body = [s for s in body if not _is_default(s)]
    return {
        n.id
        for s in body
        for n in ast.walk(s)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


def _is_default(s: ast.stmt) -> bool:
    return isinstance(s, ast.If) and ast.unparse(s.test).endswith(" is None")


def _canonical(body: list[ast.stmt]) -> list[ast.stmt]:
    """Copies of statements whose nodes know their ``origin``, with sizes in place of their names.

    ``B, T, _ = x.shape`` and what fills in arguments that were left out are dropped.
    """
    copies = [copy.deepcopy(s) for s in body]
    for s, made in zip(body, copies, strict=True):
        for node, twin in zip(ast.walk(s), ast.walk(made), strict=True):
            twin.__dict__["origin"] = node
    sizes: dict[str, ast.expr] = {}
    kept = []
    for s in copies:
        if _is_default(s) or _bind(s, sizes):
            continue
        kept.append(_Sizes(sizes).visit(s))
    return kept


def _bind(s: ast.stmt, sizes: dict[str, ast.expr]) -> bool:
    """Notes what a statement such as ``B, T, _ = x.shape`` binds."""
    if not isinstance(s, ast.Assign):
        return False
    source: ast.expr = s.value
    key: ast.expr | None = None
    if isinstance(source, ast.Subscript):
        key, source = source.slice, source.value
    if not isinstance(source, ast.Attribute) or source.attr != "shape":
        return False
    target = s.targets[0]
    if isinstance(target, ast.Tuple):
        for i, t in enumerate(target.elts):
            if isinstance(t, ast.Name) and t.id != "_":
                sizes[t.id] = ast.Subscript(source, ast.Constant(str(i)), ast.Load())
        return True
    if isinstance(target, ast.Name) and isinstance(key, ast.Constant):
        sizes[target.id] = ast.Subscript(source, ast.Constant(str(key.value)), ast.Load())
        return True
    return False


class _Sizes(ast.NodeTransformer):
    def __init__(self, sizes: dict[str, ast.expr]) -> None:
        self.sizes = sizes

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.sizes and isinstance(node.ctx, ast.Load):
            return copy.deepcopy(self.sizes[node.id])
        return node
