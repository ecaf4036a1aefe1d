"""Family float: operators in float32 that compute."""

import numpy as np

from graph import Graph

FAMILY = "float"


def f32(value):
    return np.float32(value)


def ints(*values):
    return np.array(values, np.int64)


def one(name, shape, kind, *constants, opset=17, low=-3.0, high=3.0, out_type=np.float32, may_fall_back=False,
        atol=1e-5, rtol=1e-4, **attributes):
    """One operator with one float input and constants."""
    g = Graph(FAMILY, name, "float", opset, may_fall_back=may_fall_back, atol=atol, rtol=rtol)
    x = g.input("x", g.real(shape, low, high))
    g.op(kind, x, *constants, out="y", **attributes)
    g.output("y", out_type)
    return g


def two(name, left, right, kind, *, opset=17, low=-3.0, high=3.0, constant=False, positive=False, **attributes):
    """One operator with two operands; the right one may be a constant."""
    g = Graph(FAMILY, name, "float", opset)
    a = g.input("a", g.real(left, 0.2 if positive else low, high))
    data = g.real(right, 0.2 if positive else low, high)
    if kind == "Div":
        data = data + np.where(data < 0, f32(-0.5), f32(0.5))
    g.op(kind, a, g.const(data) if constant else g.input("b", data), out="y", **attributes)
    g.output("y")
    return g


def conv(name, shape, out, kernel, *, bias=True, group=1, opset=17, kind="Conv", may_fall_back=False, **attributes):
    g = Graph(FAMILY, name, "float", opset, may_fall_back=may_fall_back)
    x = g.input("x", g.real(shape))
    weight = [out, shape[1] // group] if kind == "Conv" else [shape[1], out // group]
    w = g.real(weight + kernel, -0.5, 0.5)
    inputs = [x, w] + ([g.real([out], -1, 1)] if bias else [])
    g.op(kind, *inputs, out="y", kernel_shape=kernel, group=group, **attributes)
    g.output("y")
    return g


def convolutions():
    same = [1, 1, 1, 1]
    yield conv("conv_k1x1", [1, 5, 4, 4], 6, [1, 1])
    yield conv("conv_k3x3", [1, 3, 5, 6], 4, [3, 3], pads=same)
    yield conv("conv_no_bias", [1, 3, 5, 6], 4, [3, 3], bias=False)
    yield conv("conv_stride2_asymmetric", [1, 3, 8, 7], 4, [3, 3], strides=[2, 2], pads=[0, 1, 1, 0])
    yield conv("conv_dilation2", [1, 3, 7, 7], 3, [3, 3], dilations=[2, 2], pads=[2, 2, 2, 2])
    yield conv("conv_k5x5", [1, 2, 6, 6], 3, [5, 5], pads=[2, 2, 2, 2])
    yield conv("conv_k3x1", [1, 3, 6, 5], 4, [3, 1], pads=[1, 0, 1, 0])
    yield conv("conv_same_upper", [1, 3, 6, 7], 4, [3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    yield conv("conv_same_lower", [1, 3, 6, 7], 4, [3, 3], strides=[2, 2], auto_pad="SAME_LOWER")
    yield conv("conv_group2", [1, 4, 5, 5], 6, [3, 3], pads=same, group=2)
    yield conv("conv_depthwise", [1, 5, 5, 6], 5, [3, 3], pads=same, group=5)
    yield conv("conv_depthwise_multiplier2", [1, 3, 5, 6], 6, [3, 3], pads=same, group=3)
    yield conv("conv_batch2", [2, 3, 4, 5], 4, [3, 3], pads=same)
    yield conv("conv_1d", [1, 4, 13], 5, [3], pads=[1, 1])
    yield conv("conv_1d_stride_dilation", [1, 3, 21], 4, [5], strides=[2], dilations=[2], pads=[4, 4])
    yield conv("conv_opset7", [1, 3, 5, 6], 4, [3, 3], pads=same, opset=7)
    for suffix, options in (("", {}), ("_stride2", dict(strides=[2, 2])),
                            ("_output_padding", dict(strides=[2, 2], pads=same, output_padding=[1, 1]))):
        yield conv(f"conv_transpose{suffix}", [1, 4, 4, 3], 3, [3, 3], kind="ConvTranspose", **options)


def products():
    for name, trans_a, trans_b, alpha, beta, bias in (
            ("gemm", 0, 0, 1, 1, [7]), ("gemm_trans_b", 0, 1, 1, 1, [7]), ("gemm_alpha_beta", 0, 1, 0.5, 2, [1, 7]),
            ("gemm_trans_a", 1, 0, 1, 1, [3, 7]), ("gemm_no_bias", 0, 1, 1, 1, None)):
        g = Graph(FAMILY, name, "float")
        x = g.input("x", g.real([11, 3] if trans_a else [3, 11]))
        w = g.real([7, 11] if trans_b else [11, 7], -1, 1)
        g.op("Gemm", x, w, *([g.real(bias)] if bias else []), out="y", transA=trans_a, transB=trans_b,
             alpha=float(alpha), beta=float(beta))
        g.output("y")
        yield g
    yield two("matmul", [4, 9], [9, 5], "MatMul", constant=True)
    yield two("matmul_3d_constant", [2, 4, 9], [9, 5], "MatMul", constant=True)
    yield two("matmul_activations", [4, 9], [9, 5], "MatMul")
    yield two("matmul_batched", [2, 3, 4, 5], [2, 3, 5, 4], "MatMul")
    yield two("matmul_batch_broadcast", [2, 3, 4, 5], [1, 3, 5, 4], "MatMul")
    yield two("matmul_left_vector", [9], [9, 5], "MatMul")
    yield two("matmul_right_vector", [4, 9], [9], "MatMul")


def elementwise():
    image = [1, 3, 4, 5]
    for kind in ("Add", "Sub", "Mul", "Div", "Min", "Max"):
        word = kind.lower()
        yield two(word, image, image, kind)
        yield two(f"{word}_channels", image, [3, 1, 1], kind, constant=True)
        yield two(f"{word}_scalar", image, [], kind, constant=True)
    yield two("add_last_axis", image, [5], "Add", constant=True)
    yield two("add_two_way_broadcast", [1, 3, 1, 5], [1, 1, 4, 5], "Add")
    yield two("add_opset7", image, [1, 3, 1, 1], "Add", opset=7)
    yield two("mul_smaller_left", [5], image, "Mul")
    yield two("pow", image, image, "Pow", positive=True)
    yield two("pow_channels", image, [3, 1, 1], "Pow", positive=True, constant=True)
    yield one("pow_square", image, "Pow", f32(2))
    yield one("pow_half", image, "Pow", f32(0.5), low=0.1)
    for kind, count in (("Max", 3), ("Min", 3), ("Sum", 3), ("Mean", 3)):
        g = Graph(FAMILY, f"{kind.lower()}_three_inputs", "float", may_fall_back=kind == "Mean")
        g.op(kind, *[g.input(f"x{i}", g.real([3, 7])) for i in range(count)], out="y")
        g.output("y")
        yield g
    mask = np.array([[True, False, True, True, False]])
    g = Graph(FAMILY, "where_constant_mask", "float", may_fall_back=True)
    g.op("Where", mask, g.input("a", g.real([4, 5])), g.input("b", g.real([4, 5])), out="y")
    g.output("y")
    yield g
    g = Graph(FAMILY, "batch_normalization", "float")
    x = g.input("x", g.real(image))
    g.op("BatchNormalization", x, g.real([3], 0.5, 2), g.real([3]), g.real([3]), g.real([3], 0.3, 2), out="y",
         epsilon=1e-3)
    g.output("y")
    yield g
    g = Graph(FAMILY, "conv_batch_normalization_relu", "float", opset=9)
    x = g.op("Conv", g.input("x", g.real([1, 2, 5, 5])), g.real([3, 2, 3, 3], -1, 1), kernel_shape=[3, 3])
    x = g.op("BatchNormalization", x, g.real([3], 0.5, 2), g.real([3]), g.real([3]), g.real([3], 0.3, 2))
    g.op("Relu", x, out="y")
    g.output("y")
    yield g
    scale, shift = np.linspace(0.5, 1.5, 6, dtype=np.float32), np.linspace(-1, 1, 6, dtype=np.float32)
    yield one("layer_normalization", [2, 4, 6], "LayerNormalization", scale, shift, axis=-1, may_fall_back=True)
    yield one("instance_normalization", [1, 6, 4, 5], "InstanceNormalization", scale, shift, may_fall_back=True)


def functions():
    vector = [5, 13]
    for kind in ("Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Floor", "Ceil", "Sign", "Erf", "Softplus", "Elu", "Selu",
                 "LeakyRelu", "HardSigmoid", "HardSwish", "Exp", "Softsign", "Round", "Identity", "Sin", "Cos"):
        yield one(kind.lower(), vector, kind, may_fall_back=kind in ("Sin", "Cos", "Softsign"))
    for kind in ("Sqrt", "Reciprocal", "Log"):
        yield one(kind.lower(), vector, kind, low=0.1)
    yield one("exp_wide", vector, "Exp", low=-20, high=20)
    yield one("sigmoid_wide", vector, "Sigmoid", low=-30, high=30)
    yield one("tanh_wide", vector, "Tanh", low=-12, high=12)
    yield one("softplus_wide", vector, "Softplus", low=-30, high=30)
    yield one("leaky_relu_alpha", vector, "LeakyRelu", alpha=0.2)
    yield one("elu_alpha", vector, "Elu", alpha=1.5)
    yield one("selu_parameters", vector, "Selu", alpha=1.2, gamma=0.9)
    yield one("hard_sigmoid_alpha", vector, "HardSigmoid", alpha=1 / 6, beta=0.5)
    yield one("thresholded_relu", vector, "ThresholdedRelu", alpha=0.7, may_fall_back=True)
    yield one("celu", vector, "Celu", alpha=1.3, may_fall_back=True)
    yield one("mish", vector, "Mish", opset=18)
    yield one("gelu", vector, "Gelu", opset=20, low=-5, high=5)
    yield one("gelu_tanh", vector, "Gelu", opset=20, low=-5, high=5, approximate="tanh")
    yield one("prelu", [1, 3, 4, 5], "PRelu", np.array([0.1, -0.3, 1.5], np.float32).reshape(3, 1, 1))
    yield one("clip", vector, "Clip", f32(-1.25), f32(2))
    yield one("clip_min_only", vector, "Clip", f32(-0.5))
    yield one("clip_max_only", vector, "Clip", "", f32(0.75))
    yield one("clip_opset6_attributes", vector, "Clip", opset=7, min=0.0, max=2.0)
    g = Graph(FAMILY, "gelu_from_erf", "float")
    x = g.input("x", g.real(vector))
    half = g.op("Mul", g.op("Add", g.op("Erf", g.op("Div", x, f32(np.sqrt(2)))), f32(1)), f32(0.5))
    g.op("Mul", x, half, out="y")
    g.output("y")
    yield g
    g = Graph(FAMILY, "swish", "float")
    x = g.input("x", g.real(vector))
    g.op("Mul", x, g.op("Sigmoid", x), out="y")
    g.output("y")
    yield g
    for kind in ("Softmax", "LogSoftmax"):
        word = kind.lower()
        yield one(word, vector, kind, axis=-1)
        yield one(f"{word}_channels", [1, 5, 3, 4], kind, axis=1)
        yield one(f"{word}_opset11_axis1", [2, 3, 4], kind, opset=11, axis=1)
        yield one(f"{word}_opset9_default", [2, 3, 4], kind, opset=9)


def pools():
    image = [1, 2, 7, 6]
    yield one("max_pool", image, "MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    yield one("max_pool_ceil", image, "MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    yield one("max_pool_dilation", image, "MaxPool", kernel_shape=[2, 2], dilations=[2, 3])
    yield one("max_pool_same_lower", image, "MaxPool", kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER")
    yield one("max_pool_1d", [1, 3, 13], "MaxPool", kernel_shape=[3], strides=[2])
    yield one("max_pool_opset7", image, "MaxPool", opset=7, kernel_shape=[2, 2], strides=[2, 2])
    average = dict(kernel_shape=[3, 3], opset=19)
    yield one("average_pool", image, "AveragePool", **average, strides=[2, 2])
    yield one("average_pool_pads", image, "AveragePool", **average, pads=[1, 1, 1, 1])
    yield one("average_pool_count_pads", image, "AveragePool", **average, pads=[1, 1, 1, 1], count_include_pad=1)
    yield one("average_pool_ceil", image, "AveragePool", kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1, opset=19)
    yield one("average_pool_same_upper", image, "AveragePool", **average, strides=[2, 2], auto_pad="SAME_UPPER")
    yield one("average_pool_opset7", image, "AveragePool", opset=7, kernel_shape=[2, 2], strides=[2, 2])
    yield one("average_pool_1d", [1, 3, 13], "AveragePool", kernel_shape=[4], strides=[3])
    yield one("global_average_pool", [2, 5, 4, 3], "GlobalAveragePool")
    yield one("global_max_pool", [1, 5, 4, 3], "GlobalMaxPool")
    for kind in ("Mean", "Sum", "Max", "Min", "Prod", "L2", "SumSquare", "LogSumExp"):
        rare = kind in ("Prod", "L2", "SumSquare", "LogSumExp")
        yield one(f"reduce_{kind.lower()}", [1, 3, 4, 5], f"Reduce{kind}", may_fall_back=rare,
                  **({"keepdims": 1} if kind == "Sum" else {"axes": [2, 3]}))
    yield one("reduce_sum_axes_input", [1, 3, 4, 5], "ReduceSum", ints(1), keepdims=0)
    yield one("reduce_sum_opset11", [1, 3, 4, 5], "ReduceSum", opset=11, axes=[-1], keepdims=0)
    yield one("reduce_mean_all", [1, 3, 4, 5], "ReduceMean", keepdims=0)
    yield one("reduce_mean_opset18", [1, 3, 4, 5], "ReduceMean", ints(1, -1), opset=18, keepdims=0)
    yield one("argmax", [4, 9], "ArgMax", axis=-1, keepdims=0, out_type=np.int64)
    yield one("argmin", [4, 9], "ArgMin", axis=0, out_type=np.int64, may_fall_back=True)


def cases():
    yield from convolutions()
    yield from products()
    yield from elementwise()
    yield from functions()
    yield from pools()
