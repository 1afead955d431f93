"""Which calls care about the order of axes, and how."""

from __future__ import annotations

_ELEMENTWISE_MX = [
    "exp",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "arcsin",
    "arccos",
    "arctan",
    "arcsinh",
    "arccosh",
    "arctanh",
    "sigmoid",
    "erf",
    "erfinv",
    "negative",
    "floor",
    "ceil",
    "round",
    "sign",
    "square",
    "abs",
    "conjugate",
    "real",
    "imag",
    "stop_gradient",
    "bitwise_invert",
    "isnan",
    "isinf",
    "isfinite",
    "isneginf",
    "isposinf",
    "logical_not",
    "reciprocal",
    "astype",
    "nan_to_num",
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "power",
    "floor_divide",
    "remainder",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "left_shift",
    "right_shift",
    "logaddexp",
    "arctan2",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "where",
    "clip",
    "zeros_like",
    "ones_like",
]
_ELEMENTWISE_NN = [
    "relu",
    "prelu",
    "relu6",
    "silu",
    "gelu",
    "gelu_approx",
    "gelu_fast_approx",
    "sigmoid",
    "tanh",
    "elu",
    "selu",
    "celu",
    "leaky_relu",
    "softplus",
    "softsign",
    "mish",
    "hardswish",
    "hard_tanh",
    "log_sigmoid",
    "hard_shrink",
    "softshrink",
    "step",
]

ELEMENTWISE = frozenset({f"mx.{n}" for n in _ELEMENTWISE_MX} | {f"nn.{n}" for n in _ELEMENTWISE_NN})

# Elementwise where one scale holds for the whole array; else scales lie along an axis.
SCALED = frozenset({"ops.quantize_linear", "ops.dequantize_linear", "ops.requantize"})

REDUCTIONS = frozenset(
    f"mx.{n}"
    for n in [
        "sum",
        "prod",
        "mean",
        "var",
        "std",
        "logsumexp",
        "max",
        "min",
        "all",
        "any",
        "argmax",
        "argmin",
    ]
)
INDEX_REDUCTIONS = frozenset({"mx.argmax", "mx.argmin"})

ALONG_AXIS = frozenset(
    f"mx.{n}"
    for n in [
        "softmax",
        "cumsum",
        "cumprod",
        "cummax",
        "cummin",
        "logcumsumexp",
        "sort",
        "argsort",
        "repeat",
        "roll",
    ]
) | {"nn.glu", "nn.log_softmax", "ops.log_softmax"}
# The axis where none is given; it is left out where it is this one.
DEFAULT_AXIS = {"nn.glu": -1}

# The last axis is what they work on; the others are a batch.
LAST_AXIS = frozenset({"ops.linear", "mx.fast.layer_norm", "mx.fast.rms_norm"})

# Where the axis stands among the positional arguments (1 unless listed).
AXIS_POSITION = {"mx.split": 2, "mx.repeat": 2, "mx.roll": 2}
