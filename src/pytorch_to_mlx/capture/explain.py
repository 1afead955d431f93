"""torch.export's refusals in the user's terms: their line, the kind of construct, what mends it."""

from __future__ import annotations

import linecache
import re
import traceback
from dataclasses import dataclass

from pytorch_to_mlx.capture.program import innermost_user_line, is_foreign
from pytorch_to_mlx.errors import CaptureError


@dataclass(frozen=True)
class Construct:
    """A kind of code that export refuses, recognised by the error's text or the source line."""

    what: str
    hint: str
    error: str = ""
    line: str = ""

    def matches(self, text: str, line: str) -> bool:
        in_text = not self.error or re.search(self.error, text) is not None
        return in_text and (not self.line or re.search(self.line, line) is not None)


_DATA = (
    r"data-dependent|DataDependent|GuardOnDataDependent|u\d+\b.*guard|"
    r"UnsupportedOperatorException.*_local_scalar_dense"
)

CONSTRUCTS = (
    Construct(
        "a packed sequence (pack_padded_sequence), whose layout depends on the lengths' values",
        "Give the padded tensor to the recurrent layer and mask or gather its output by length",
        r"pack_padded_sequence|_pack_padded",
    ),
    Construct(
        "a call of numpy, which sees no symbolic tensors",
        "Use the torch function of the same name, or compute the array in __init__",
        line=r"\bnp\.|\bnumpy\b|\.numpy\(\)",
    ),
    Construct(
        "a Python number read from a tensor (.item(), int(), float(), .tolist())",
        "Keep the value a tensor, or compute the number in __init__ or pass it as an argument",
        _DATA,
        r"\.item\(\)|\.tolist\(\)|\bint\(|\bfloat\(|\bbool\(|\brange\(",
    ),
    Construct(
        "a branch on the values of a tensor (data-dependent control flow)",
        "Use torch.where for element-wise choices, torch.cond for branches, or move the check out",
        _DATA,
        r"^\s*(if|elif|while|assert)\b|\bif\b.*\belse\b|\band\b|\bor\b|\bnot\b",
    ),
    Construct(
        "a shape that depends on the values of a tensor (nonzero, boolean indexing, unique)",
        "Use torch.where or a mask of fixed shape; or torch._check(...) what is known of the size",
        _DATA,
    ),
    Construct(
        "a loop or branch that torch cannot guard on",
        "Move the choice out of forward or use torch.cond / torch.while_loop",
        r"torch\.cond|torch\.while_loop|Dynamic control flow|dynamic_control_flow",
    ),
    Construct(
        "sizes that the code ties together or fixes",
        "Make these dims static, or give torch.export.Dim bounds or multiples that fit",
        r"[Cc]onstraints? violated|ConstraintViolation|specialized it to be a constant|"
        r"marked .* as dynamic",
    ),
    Construct(
        "an input or output of a type that torch.export cannot flatten",
        "Pass and return tensors, numbers, or tuples, lists, dicts and dataclasses of them",
        r"[Uu]nsupported.*(input|output) type|[Ee]xpected .*(inputs|outputs|graph module) to "
        r"(only )?(contain|have|be)|Unsupported.*(input|output)|pytree|only supports? .* types|"
        r"[Oo]bject of type .* is not a known type|TreeSpec",
    ),
    Construct(
        "a derivative taken inside forward (torch.func, jacrev, grad)",
        "Write the derivative out, or pass what it differentiates as a function of tensors alone",
        r"functorch",
        r"\b(jacrev|jacfwd|hessian|grad|vjp|jvp)\b",
    ),
    Construct(
        "a custom autograd function",
        "Write its forward with torch operations, or register it as a custom op (torch.library)",
        r"autograd\.Function|autograd_function|custom_function_call",
    ),
    Construct(
        "printing or another side effect on a traced tensor",
        "Remove it or keep it out of forward while converting",
        r"",
        r"\bprint\(|\blogging\.|\blogger\.|\.savez?\(|\bopen\(",
    ),
    Construct(
        "the memory address of a tensor",
        "Register the kernel that needs it as a custom op with a fake form (torch.library)",
        r"data pointer|data_ptr",
    ),
    Construct(
        "an in-place write to memory that torch cannot track",
        "Use the functional form of the operation (y = x.clone(); y[...] = ...)",
        r"mutat|aliasing|in-?place",
    ),
    Construct(
        "an operator without a fake (shape) implementation",
        "Register one with torch.library.register_fake for this custom op",
        r"fake impl|no fake|register_fake|meta kernel|[Nn]ot[Ii]mplemented.*Meta",
    ),
    Construct(
        "a fake tensor mixed with a real one made outside of the module's tensors",
        "Register the tensor as a buffer, or create it inside forward",
        r"mixing|convert all Tensors to FakeTensors|FakeTensor.*real",
    ),
    Construct(
        "a tensor on another device or dtype than its operands",
        "Move the module and its inputs to the CPU before converting",
        r"device|Expected all tensors to be on",
    ),
)

# Where torch fails over a derivative: within it, or over its result, which it takes for a constant.
_DERIVATIVES = re.compile(
    r"_functorch[/\\]eager_transforms\.py$|autograd[/\\]__init__\.py$|lift_constants_pass\.py$"
)


def depends_on_data(error: BaseException) -> bool:
    """Whether torch refuses because of the values of tensors, which fixing sizes cannot mend."""
    if "GuardOnDataDependent" not in type(error).__name__:
        return False
    return re.search(r"expression [^\n]*\bs\d+", str(error)) is None


def differentiates(error: BaseException) -> bool:
    """Whether torch refuses where forward takes a derivative (``torch.func``, ``autograd``)."""
    chain: BaseException | None = error
    while chain is not None:
        frames = traceback.extract_tb(chain.__traceback__)
        if any(_DERIVATIVES.search(frame.filename) for frame in frames):
            return True
        chain = chain.__cause__ or chain.__context__
    return "fake tensor in the exported program constant's list" in str(error)


def explain(error: BaseException, module_path: str = "") -> CaptureError:
    """A ``CaptureError`` for what torch raised; the caller chains the original as its cause."""
    if isinstance(error, CaptureError):
        return error
    file, line, text = user_line(error)
    message = str(error)
    described = f"{type(error).__name__}: {message}"
    for construct in CONSTRUCTS:
        if construct.matches(described, text):
            what, hint = construct.what, construct.hint
            break
    else:
        what, hint = first_line(error), "Run again with --debug for torch's own traceback"
    if suggestion := _suggested_fixes(message):
        hint = f"{hint}. torch suggests: {suggestion}"
    shown = f"torch.export refuses `{text}`: {what}" if text else f"torch.export refuses {what}"
    return CaptureError(
        shown, module_path=module_path, origin=f"{file}:{line}" if file else "", hint=hint
    )


def user_line(error: BaseException) -> tuple[str, int, str]:
    """The innermost line of the user's code, in the traceback or in the one that torch quotes."""
    quoted = innermost_user_line(_after(str(error), "The following call raised this error"))
    if quoted[0] and _is_user_code(quoted[0]):
        return quoted
    own: tuple[str, int, str] = ("", 0, "")
    chain: BaseException | None = error
    while chain is not None and not own[0]:
        for frame in traceback.extract_tb(chain.__traceback__):
            if _is_user_code(frame.filename):
                number = frame.lineno or 0
                own = (frame.filename, number, linecache.getline(frame.filename, number).strip())
        chain = chain.__cause__ or chain.__context__
    if own[0]:
        return own
    if "User code" in str(error) or "from user code" in str(error):
        return innermost_user_line(_after(str(error), "ser code"))
    return own


def _after(text: str, mark: str) -> str:
    return text.partition(mark)[2]


def _is_user_code(filename: str) -> bool:
    return not is_foreign(filename)


def first_line(error: BaseException) -> str:
    """The first line of an error's message (else its class), at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def _suggested_fixes(message: str) -> str:
    block = _after(message, "Suggested fixes:")
    lines = []
    for line in block.splitlines()[1:]:
        if not line.strip():
            break
        lines.append(line.strip())
    return "; ".join(lines)
