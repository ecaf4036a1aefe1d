"""Family qdq_other: every other operator between Q/DQ pairs, one operator a case."""

import numpy as np

from check import requantize
from graph import S8, U8, Graph

FAMILY = "qdq_other"


def f32(value):
    return np.float32(value)


def ints(*values):
    return np.array(values, np.int64)


def gemm(name, rows, depth, out, *, trans_b=0, kind="Gemm", shape=None, w_type=S8, w_zp=0, per_channel=True,
         bias=True, relu=False, x_type=U8):
    """Gemm or MatMul with constant weights; `shape` gives a left side of more than two axes."""
    g = Graph(FAMILY, name, "integer")
    shift = 128 if x_type == S8 else 0
    xz, yz = 117 - shift, 0 if relu else 126 - shift
    xs = g.scale()
    x = g.qdq_input("x", shape or [rows, depth], xs, xz, x_type)
    w = g.ints([out, depth] if trans_b else [depth, out], w_type)
    axis = (0 if trans_b else 1) if per_channel else None
    ws = g.scale(0.004, 0.009, (out,) if per_channel else ())
    wz = np.zeros(ws.shape, w_type) + np.asarray(w_zp, w_type)
    ys = f32(np.sqrt(depth) * xs * np.mean(ws) * 74 * 74 * 5 / 255)
    b = g.ints([out], np.int32, -20000, 20000)
    weight = g.dq_weight(w, ws, wz, axis)
    if kind == "Gemm":
        y = g.op("Gemm", x, weight, *([g.dq_bias(b, xs * ws)] if bias else []), transB=trans_b or None)
    else:
        y = g.op("MatMul", x, weight)
    if relu:
        y = g.op("Relu", y)
    g.qdq_output(y, ys, yz, x_type)

    def contract():
        matrix = w.astype(np.int64) - wz.astype(np.int64).reshape([-1, 1] if trans_b and per_channel else [-1])
        acc = (g.quantized["x"].astype(np.int64) - xz) @ (matrix.T if trans_b else matrix)
        acc = acc + (b if bias and kind == "Gemm" else 0)
        q = requantize(acc, xs, ws, ys, yz, x_type, acc.ndim - 1)
        return {"y": (q.astype(np.float32) - f32(yz)) * ys}

    g.contract = contract
    return g


def binary(name, kind, left, right, *, constant=None, activation=None, x_type=U8, same_scale=False, fraction=0.001,
           float_constant=False):
    """Add, Sub, Mul, … of two quantized tensors; `constant` is "a" or "b"."""
    g = Graph(FAMILY, name, "one-step", fraction=fraction)
    shift = 128 if x_type == S8 else 0
    scales = [g.scale(), g.scale()]
    points = [120 - shift, 133 - shift]
    if same_scale:
        scales[1], points[1] = scales[0], points[0]
    names = []
    for label, shape, scale, point in zip("ab", (left, right), scales, points):
        if label == constant and float_constant:
            names.append(g.const(g.real(shape)))
        elif label == constant:
            names.append(g.dq(g.const(g.ints(shape, x_type)), scale, point, x_type))
        else:
            names.append(g.qdq_input(label, shape, scale, point, x_type))
    y = g.op(kind, *names)
    if activation:
        y = g.op(activation, y)
    ys = scales[0] * scales[1] * 74 * 74 * 5 / 255 if kind == "Mul" else np.hypot(*scales) * 1.7
    ys = scales[0] if same_scale else ys
    g.qdq_output(y, ys, 0 if activation else 125 - shift, x_type)
    return g


def one(name, shape, kind, *constants, tolerance="one-step", opset=17, x=(0.0317, 121), y=None, x_type=U8,
        fraction=0.001, optimize=True, **attributes):
    """One operator with one quantized tensor and constants; `y` is the output's (scale, zero point)."""
    g = Graph(FAMILY, name, tolerance, opset, fraction=fraction, optimize=optimize)
    shift = 128 if x_type == S8 else 0
    value = g.qdq_input("x", shape, f32(x[0]), x[1] - shift, x_type)
    y = y or x
    g.qdq_output(g.op(kind, value, *constants, **attributes), f32(y[0]), y[1] - shift, x_type)
    return g


def move(name, shape, kind, *constants, **attributes):
    """An operator that only moves values: the same scale before and after, exact."""
    return one(name, shape, kind, *constants, tolerance="exact", **attributes)


def products():
    yield gemm("gemm", 3, 19, 10)
    yield gemm("gemm_trans_b", 3, 19, 10, trans_b=1)
    yield gemm("gemm_per_tensor", 1, 70, 12, per_channel=False)
    yield gemm("gemm_no_bias", 2, 33, 7, bias=False)
    yield gemm("gemm_uint8_weights", 2, 33, 7, per_channel=False, w_type=U8, w_zp=125)
    yield gemm("gemm_relu", 2, 33, 9, trans_b=1, relu=True)
    yield gemm("gemm_int8", 3, 19, 10, x_type=S8, trans_b=1)
    yield gemm("matmul", 4, 21, 9, kind="MatMul")
    yield gemm("matmul_per_tensor", 4, 21, 9, kind="MatMul", per_channel=False)
    yield gemm("matmul_3d", 0, 17, 8, kind="MatMul", shape=[1, 6, 17])
    yield gemm("matmul_3d_batch3", 0, 17, 8, kind="MatMul", shape=[3, 4, 17])
    yield gemm("matmul_int8", 4, 21, 9, kind="MatMul", x_type=S8)
    g = Graph(FAMILY, "matmul_two_activations", "one-step")
    a = g.qdq_input("a", [2, 5, 13], f32(0.031), 122)
    b = g.qdq_input("b", [2, 13, 6], f32(0.027), 131)
    g.qdq_output(g.op("MatMul", a, b), f32(0.031 * 0.027 * 74 * 74 * 5 / 255 * np.sqrt(13)), 128)
    yield g


def elementwise():
    image, channels = [1, 6, 5, 7], [1, 6, 1, 1]
    for kind in ("Add", "Sub", "Mul"):
        word = kind.lower()
        yield binary(word, kind, image, image)
        yield binary(f"{word}_tensor_channels", kind, image, channels)
        yield binary(f"{word}_constant_scalar", kind, image, [], constant="b")
        yield binary(f"{word}_constant_channels", kind, image, [6, 1, 1], constant="b")
        yield binary(f"{word}_constant_last_axis", kind, [1, 4, 5, 9], [9], constant="b")
        yield binary(f"{word}_constant_full", kind, image, image, constant="b")
        yield binary(f"{word}_float_constant", kind, [1, 4, 5, 9], [9], constant="b", float_constant=True)
    yield binary("mul_channels_first", "Mul", channels, image)
    yield binary("sub_constant_left", "Sub", [1], image, constant="a")
    yield binary("add_two_way_broadcast", "Add", [1, 6, 1, 7], [1, 1, 5, 7])
    yield binary("add_batch2", "Add", [2, 3, 4, 5], [1, 3, 4, 5])
    yield binary("add_rank2", "Add", [5, 17], [5, 17])
    yield binary("add_same_scale", "Add", image, image, same_scale=True)
    yield binary("add_relu", "Add", image, image, activation="Relu")
    yield binary("add_int8", "Add", image, image, x_type=S8)
    yield binary("mul_int8", "Mul", image, channels, x_type=S8)


def pools():
    image, fine = [1, 4, 9, 8], (0.0187, 133)
    max_pool = dict(kernel_shape=[3, 3])
    yield move("max_pool", image, "MaxPool", **max_pool, strides=[2, 2])
    yield move("max_pool_pads", image, "MaxPool", **max_pool, strides=[2, 2], pads=[1, 1, 1, 1])
    yield move("max_pool_pads_asymmetric", image, "MaxPool", **max_pool, strides=[2, 1], pads=[0, 1, 2, 0])
    yield move("max_pool_ceil", image, "MaxPool", kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1)
    yield move("max_pool_dilation", image, "MaxPool", kernel_shape=[2, 2], dilations=[2, 2])
    yield move("max_pool_same_upper", image, "MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    yield move("max_pool_1d", [1, 5, 17], "MaxPool", kernel_shape=[3], strides=[2])
    yield move("max_pool_int8", image, "MaxPool", **max_pool, strides=[2, 2], pads=[1, 1, 1, 1], x_type=S8)
    yield one("max_pool_other_scale", image, "MaxPool", kernel_shape=[2, 2], strides=[2, 2], y=(0.0371, 111))
    average = dict(y=fine, kernel_shape=[3, 3], opset=19)
    yield one("average_pool", image, "AveragePool", **average, strides=[2, 2])
    yield one("average_pool_pads", image, "AveragePool", **average, pads=[1, 1, 1, 1])
    yield one("average_pool_count_pads", image, "AveragePool", **average, pads=[1, 1, 1, 1], count_include_pad=1)
    yield one("average_pool_pads_asymmetric", image, "AveragePool", **average, pads=[0, 1, 2, 0], strides=[2, 2])
    yield one("average_pool_ceil", image, "AveragePool", y=fine, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1,
              opset=19)
    yield one("average_pool_same_upper", image, "AveragePool", **average, strides=[2, 2], auto_pad="SAME_UPPER")
    yield one("average_pool_opset11", image, "AveragePool", y=fine, kernel_shape=[2, 2], strides=[2, 2], opset=13)
    yield one("average_pool_1d", [1, 5, 17], "AveragePool", y=fine, kernel_shape=[4], strides=[3])
    yield one("average_pool_same_scale", image, "AveragePool", kernel_shape=[2, 2], strides=[2, 2], fraction=0.3)
    yield one("average_pool_int8", image, "AveragePool", y=fine, kernel_shape=[3, 3], strides=[2, 2], x_type=S8)
    narrow = (0.0093, 129)
    yield one("global_average_pool", [1, 23, 5, 7], "GlobalAveragePool", y=narrow)
    yield one("global_average_pool_batch2", [2, 9, 4, 3], "GlobalAveragePool", y=narrow)
    yield one("global_average_pool_int8", [1, 23, 5, 7], "GlobalAveragePool", y=narrow, x_type=S8)
    yield one("global_average_pool_1d", [1, 7, 19], "GlobalAveragePool", y=narrow)
    yield move("global_max_pool", [1, 9, 5, 4], "GlobalMaxPool")
    yield one("reduce_mean_hw", [1, 11, 5, 6], "ReduceMean", axes=[2, 3], y=narrow)
    yield one("reduce_mean_hw_flat", [1, 11, 5, 6], "ReduceMean", axes=[2, 3], keepdims=0, y=narrow)
    yield one("reduce_mean_nhwc", [1, 5, 6, 11], "ReduceMean", axes=[1, 2], keepdims=0, y=narrow)
    yield one("reduce_mean_last", [1, 7, 13], "ReduceMean", axes=[-1], y=fine)
    yield one("reduce_mean_channels", [1, 7, 4, 5], "ReduceMean", axes=[1], y=fine)
    yield one("reduce_mean_opset18", [1, 11, 5, 6], "ReduceMean", ints(2, 3), opset=18, keepdims=1, y=narrow)
    yield one("reduce_mean_int8", [1, 11, 5, 6], "ReduceMean", axes=[2, 3], y=narrow, x_type=S8)
    yield move("reduce_max", [1, 5, 6, 7], "ReduceMax", axes=[2, 3])


def movers():
    image = [1, 4, 5, 6]
    edges = ints(0, 0, 1, 2, 0, 0, 3, 1)
    yield move("pad_constant_zero", image, "Pad", edges)
    yield move("pad_constant_value", image, "Pad", edges, f32(1.268))
    yield move("pad_reflect", image, "Pad", ints(0, 0, 1, 2, 0, 0, 3, 1), mode="reflect")
    yield move("pad_edge", image, "Pad", edges, mode="edge")
    yield move("pad_channels", image, "Pad", ints(0, 1, 0, 0, 0, 2, 0, 0))
    yield move("pad_negative", image, "Pad", ints(0, 0, -1, 1, 0, 0, 0, -2))
    yield move("slice", [1, 6, 7, 8], "Slice", ints(1, 2), ints(5, 7), ints(1, 3))
    yield move("slice_steps", [1, 6, 7, 8], "Slice", ints(0, 1), ints(7, 8), ints(2, 3), ints(2, 3))
    yield move("slice_negative", [1, 6, 7, 8], "Slice", ints(-4, -2), ints(2**31, -1), ints(-3, -1))
    yield move("slice_reverse", [1, 3, 9], "Slice", ints(-1), ints(-(2**31)), ints(-1), ints(-2))
    for perm in ([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2], [3, 2, 1, 0]):
        yield move("transpose_" + "".join(map(str, perm)), [1, 4, 5, 6], "Transpose", perm=perm)
    yield move("transpose_batch2_0231", [2, 3, 4, 5], "Transpose", perm=[0, 2, 3, 1])
    yield move("transpose_021", [2, 5, 7], "Transpose", perm=[0, 2, 1])
    yield move("reshape", image, "Reshape", ints(1, 0, -1))
    yield move("reshape_merge", image, "Reshape", ints(0, 20, 6))
    yield move("flatten", [2, 3, 4, 5], "Flatten")
    yield move("flatten_axis2", [2, 3, 4, 5], "Flatten", axis=2)
    yield move("squeeze", [1, 9, 1, 1], "Squeeze", ints(2, 3))
    yield move("unsqueeze", [3, 7], "Unsqueeze", ints(0, 3))
    yield move("gather", [1, 7, 5], "Gather", ints(4, 0, 6, -2), axis=1)
    yield move("expand", [1, 4, 1, 5], "Expand", ints(1, 4, 3, 5))
    yield move("tile", [1, 3, 4], "Tile", ints(1, 2, 3))
    yield move("depth_to_space", [1, 8, 3, 4], "DepthToSpace", blocksize=2)
    yield move("depth_to_space_crd", [1, 8, 3, 4], "DepthToSpace", blocksize=2, mode="CRD")
    yield move("space_to_depth", [1, 3, 4, 6], "SpaceToDepth", blocksize=2)
    yield move("identity", [1, 3, 4], "Identity")
    yield one("requantize", [1, 3, 40], "Identity", y=(0.0243, 99), optimize=False)
    yield from concats_and_splits()


def concats_and_splits():
    for name, shapes, axis, same in (
            ("concat", ([1, 3, 5, 4], [1, 4, 5, 4]), 1, False), ("concat_same", ([1, 3, 5, 4], [1, 4, 5, 4]), 1, True),
            ("concat_three_axis2", ([1, 3, 2, 4], [1, 3, 3, 4], [1, 3, 1, 4]), 2, False),
            ("concat_last_axis_same", ([2, 3, 5], [2, 3, 6]), -1, True), ("concat_rows", ([2, 9], [3, 9]), 0, False)):
        g = Graph(FAMILY, name, "exact" if same else "one-step")
        ys, yz = f32(0.0391), 118
        parts = [g.qdq_input(f"x{i}", s, ys if same else g.scale(0.02, 0.05), yz if same else 105 + 11 * i)
                 for i, s in enumerate(shapes)]
        g.qdq_output(g.op("Concat", *parts, axis=axis), ys, yz)
        yield g
    for name, shape, axis, sizes in (("split", [1, 8, 4, 3], 1, [4, 4]), ("split_uneven", [1, 9, 4, 3], 1, [2, 3, 4]),
                                     ("split_last_axis", [2, 3, 8], -1, [5, 3])):
        g = Graph(FAMILY, name, "exact")
        parts = g.op("Split", g.qdq_input("x", shape, f32(0.0317), 121), ints(*sizes), axis=axis, count=len(sizes))
        for i, part in enumerate(parts):
            g.qdq_output(part, f32(0.0317), 121, name=f"y{i}")
        yield g


def resizes():
    image = [1, 3, 5, 6]
    nearest = dict(mode="nearest")
    floor = dict(nearest, coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    half = dict(nearest, coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_floor")
    double, odd = np.array([1, 1, 2, 2], np.float32), ints(1, 3, 7, 11)
    yield move("resize_nearest_floor", image, "Resize", "", double, **floor)
    yield move("resize_nearest_floor_3x", image, "Resize", "", np.array([1, 1, 3, 2], np.float32), **floor)
    yield move("resize_nearest_floor_sizes", image, "Resize", "", "", odd, **floor)
    yield move("resize_nearest_half_pixel", image, "Resize", "", double, **half)
    yield move("resize_nearest_half_pixel_sizes", image, "Resize", "", "", odd, **half)
    yield move("resize_nearest_shrink", [1, 3, 8, 9], "Resize", "", "", ints(1, 3, 3, 5), **floor)
    for mode in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        linear = dict(mode="linear", coordinate_transformation_mode=mode, y=(0.0293, 117))
        yield one(f"resize_linear_{mode}", image, "Resize", "", double, **linear)
        yield one(f"resize_linear_{mode}_sizes", image, "Resize", "", "", odd, **linear)
    yield one("resize_linear_shrink", [1, 3, 8, 9], "Resize", "", "", ints(1, 3, 3, 5), mode="linear",
              coordinate_transformation_mode="half_pixel", y=(0.0293, 117))


def functions():
    every, signed = [2, 256], (0.0471, 126)
    yield one("sigmoid", every, "Sigmoid", x=signed, y=(1 / 256, 0))
    yield one("sigmoid_int8", every, "Sigmoid", x=signed, y=(1 / 256, 0), x_type=S8)
    yield one("tanh", every, "Tanh", x=(0.0171, 126), y=(1 / 128, 128))
    yield one("hard_swish", every, "HardSwish", x=signed, y=(0.0257, 15))
    yield one("hard_sigmoid", every, "HardSigmoid", x=signed, y=(1 / 255, 0))
    yield one("hard_sigmoid_alpha", every, "HardSigmoid", x=signed, y=(1 / 255, 0), alpha=1 / 6, beta=0.5)
    yield one("relu", every, "Relu", x=signed, y=(0.0253, 0))
    yield one("relu_zero_point", every, "Relu", x=signed, y=(0.0353, 40))
    yield one("leaky_relu", every, "LeakyRelu", x=signed, y=(0.0357, 41), alpha=0.1)
    yield one("leaky_relu_default", every, "LeakyRelu", x=signed, y=(0.0257, 7))
    yield one("elu", every, "Elu", x=signed, y=(0.0293, 35))
    yield one("elu_alpha", every, "Elu", x=signed, y=(0.0293, 70), alpha=1.7)
    yield one("selu", every, "Selu", x=signed, y=(0.0353, 50))
    yield one("exp", every, "Exp", x=(0.0171, 200), y=(0.0117, 0))
    yield one("log", every, "Log", x=(0.0171, 0), y=(0.0251, 160))
    yield one("sqrt", every, "Sqrt", x=(0.0171, 0), y=(0.0087, 0))
    yield one("softplus", every, "Softplus", x=signed, y=(0.0261, 0))
    yield one("abs", every, "Abs", x=signed, y=(0.0241, 0))
    yield one("neg", every, "Neg", x=signed, y=(0.0473, 130))
    yield one("erf", every, "Erf", x=(0.0171, 126), y=(1 / 128, 128))
    yield one("mish", every, "Mish", x=signed, y=(0.0257, 13), opset=18)
    yield one("clip", every, "Clip", f32(-1.5), f32(2.25), x=signed, y=(0.0171, 90))
    yield one("clip_same_scale", every, "Clip", f32(0), f32(6), x=signed)
    yield one("gelu", every, "Gelu", opset=20, x=signed, y=(0.0257, 7))
    yield one("gelu_tanh", every, "Gelu", opset=20, x=signed, y=(0.0257, 7), approximate="tanh")
    slopes = np.array([0.1, -0.2, 0.33, 0.0, 1.2], np.float32).reshape(5, 1, 1)
    yield one("prelu_channels", [1, 5, 6, 7], "PRelu", slopes, x=signed, y=(0.0357, 90))
    yield one("prelu_scalar", [1, 5, 6, 7], "PRelu", np.array([0.25], np.float32), x=signed, y=(0.0357, 60))
    yield one("softmax", [5, 37], "Softmax", x=(0.0273, 140), y=(1 / 256, 0), axis=-1)
    yield one("softmax_two_classes", [7, 2], "Softmax", x=(0.0273, 140), y=(1 / 256, 0), axis=-1)
    yield one("softmax_channels", [1, 9, 4, 5], "Softmax", x=(0.0273, 140), y=(1 / 256, 0), axis=1)
    yield one("softmax_int8", [5, 37], "Softmax", x=(0.0273, 140), y=(1 / 256, 0), axis=-1, x_type=S8)
    for name, shape, axis, keepdims in (("argmax", [4, 29], 1, 0), ("argmax_channels", [1, 9, 4, 5], 1, 1)):
        g = Graph(FAMILY, name, "exact")
        g.op("ArgMax", g.qdq_input("x", shape, f32(0.0317), 121), axis=axis, keepdims=keepdims, out="y")
        g.output("y", np.int64)
        yield g


def cases():
    yield from products()
    yield from elementwise()
    yield from pools()
    yield from movers()
    yield from resizes()
    yield from functions()
