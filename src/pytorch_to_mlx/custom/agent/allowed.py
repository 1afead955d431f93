"""What a function from outside may call. Nothing is allowed for not being known to be harmful."""

from __future__ import annotations

#: Array maths of ``mx``: functions without access to files, kernels, devices, streams or state.
FUNCTIONS = frozenset(
    """abs add addmm all allclose any arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh
    argmax argmin argpartition argsort array array_equal atleast_1d atleast_2d atleast_3d
    bitwise_and bitwise_invert bitwise_or bitwise_xor block_masked_mm broadcast_arrays
    broadcast_to ceil clip concatenate conjugate contiguous conv1d conv2d conv3d conv_general
    conv_transpose1d conv_transpose2d conv_transpose3d convolve cos cosh cummax cummin cumprod
    cumsum degrees diag diagonal divide divmod einsum equal erf erfinv exp expand_dims expm1 eye
    flatten floor floor_divide full full_like gather_mm greater greater_equal hadamard_transform
    identity imag inner isclose isfinite isinf isnan isneginf isposinf kron left_shift less
    less_equal linspace log log10 log1p log2 logaddexp logcumsumexp logical_and logical_not
    logical_or logsumexp matmul max maximum mean median meshgrid min minimum moveaxis multiply
    nan_to_num negative not_equal ones ones_like outer pad partition permute_dims power prod
    put_along_axis radians real reciprocal remainder repeat reshape right_shift roll round rsqrt
    sigmoid sign sin sinh slice softmax sort split sqrt square squeeze stack std stop_gradient
    subtract sum swapaxes take take_along_axis tan tanh tensordot tile topk trace transpose tri
    tril triu unflatten var view where zeros zeros_like""".split()
)
#: What of ``mx`` may stand without a call.
CONSTANTS = frozenset(
    """array Dtype bool_ uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 bfloat16
    complex64 pi e inf nan newaxis""".split()
)
#: Attributes and methods of arrays.
MEMBERS = frozenset(
    """shape ndim size dtype T real imag astype reshape transpose swapaxes moveaxis squeeze flatten
    sum mean max min prod any all abs exp log sqrt square""".split()
)
BUILTINS = frozenset("abs bool enumerate float int len list max min range sum tuple zip".split())
