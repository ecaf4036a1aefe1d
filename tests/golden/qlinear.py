"""Family qlinear: the operator-oriented forms (QLinearConv, QLinearMatMul, com.microsoft QLinear…), integer in and out."""

import numpy as np

from check import accumulate, requantize
from graph import S8, U8, Graph

FAMILY = "qlinear"
MS = "com.microsoft"


def f32(value):
    return np.float32(value)


def conv(name, shape, out, kernel, *, pads, strides=(1, 1), group=1, bias=True, x_type=U8, x_zp=116, y_zp=129,
         w_type=S8, w_zp=0, per_channel=True):
    g = Graph(FAMILY, name, "integer")
    x = g.ints(shape, x_type)
    w = g.ints([out, shape[1] // group, *kernel], w_type)
    xs, ws = g.scale(), g.scale(0.004, 0.009, (out,) if per_channel else ())
    ys = f32(np.sqrt(w[0].size) * xs * np.mean(ws) * 74 * 74 * 5 / 255)
    wz = np.zeros(ws.shape, w_type) + np.asarray(w_zp, w_type)
    b = g.ints([out], np.int32, -20000, 20000) if bias else None
    g.input("x", x)
    inputs = ["x", xs, np.asarray(x_zp, x_type), w, ws, wz, ys, np.asarray(y_zp, x_type)] + ([b] if bias else [])
    g.op("QLinearConv", *inputs, out="y", kernel_shape=kernel, strides=strides, pads=pads, group=group)
    g.output("y", x_type, ys, y_zp)
    g.contract = lambda: {"y": requantize(
        accumulate(x, x_zp, w, wz, b, strides, pads, (1, 1), group), xs, ws, ys, y_zp, x_type, 1)}
    return g


def matmul(name, shape, out, *, x_type=U8, x_zp=125, y_zp=120, w_type=S8, w_zp=0, per_column=True):
    g = Graph(FAMILY, name, "integer")
    x = g.ints(shape, x_type)
    w = g.ints([shape[-1], out], w_type)
    xs, ws = g.scale(), g.scale(0.004, 0.009, (out,) if per_column else ())
    ys = f32(np.sqrt(shape[-1]) * xs * np.mean(ws) * 74 * 74 * 5 / 255)
    wz = np.zeros(ws.shape, w_type) + np.asarray(w_zp, w_type)
    g.input("x", x)
    g.op("QLinearMatMul", "x", xs, np.asarray(x_zp, x_type), w, ws, wz, ys, np.asarray(y_zp, x_type), out="y")
    g.output("y", x_type, ys, y_zp)

    def contract():
        acc = (x.astype(np.int64) - x_zp) @ (w.astype(np.int64) - wz.astype(np.int64))
        return {"y": requantize(acc, xs, ws, ys, y_zp, x_type, acc.ndim - 1)}

    g.contract = contract
    return g


def gemm(name, rows, depth, out, *, trans_b=0, x_type=U8, x_zp=125, y_zp=120, w_type=S8, w_zp=0, per_column=True,
         bias=True, alpha=1.0):
    g = Graph(FAMILY, name, "integer")
    x = g.ints([rows, depth], x_type)
    w = g.ints([out, depth] if trans_b else [depth, out], w_type)
    xs, ws = g.scale(), g.scale(0.004, 0.009, (out,) if per_column else ())
    ys = f32(np.sqrt(depth) * xs * np.mean(ws) * 74 * 74 * 5 / 255)
    wz = np.zeros(ws.shape, w_type) + np.asarray(w_zp, w_type)
    b = g.ints([out], np.int32, -20000, 20000) if bias else None
    g.input("x", x)
    g.op("QGemm", "x", xs, np.asarray(x_zp, x_type), w, ws, wz, b if bias else "", ys, np.asarray(y_zp, x_type),
         out="y", domain=MS, transB=trans_b, alpha=alpha)
    g.output("y", x_type, ys, y_zp)

    def contract():
        matrix = w.astype(np.int64) - wz.astype(np.int64).reshape([-1, 1] if trans_b and per_column else [-1])
        acc = (x.astype(np.int64) - x_zp) @ (matrix.T if trans_b else matrix) + (b if bias else 0)
        return {"y": requantize(acc, xs, ws, ys, y_zp, x_type, 1)}

    g.contract = contract
    return g


def binary(name, kind, left, right, *, dtype=U8, constant=None, zero_points=(120, 131, 125)):
    g = Graph(FAMILY, name, "one-step")
    za, zb, zy = [z - (128 if dtype == S8 else 0) for z in zero_points]
    sa, sb = g.scale(), g.scale()
    sy = f32(np.hypot(sa, sb) * 1.7 if kind == "QLinearAdd" else sa * sb * 74 * 74 * 5 / 255)
    names = []
    for label, shape in (("a", left), ("b", right)):
        data = g.ints(shape, dtype)
        names.append(g.const(data) if label == constant else g.input(label, data))
    g.op(kind, names[0], sa, np.asarray(za, dtype), names[1], sb, np.asarray(zb, dtype), sy, np.asarray(zy, dtype),
         out="y", domain=MS)
    g.output("y", dtype, sy, zy)
    return g


def unary(name, kind, shape, xs, xz, ys, yz, *, dtype=U8, domain=MS, tolerance="one-step", fraction=0.001,
          **attributes):
    g = Graph(FAMILY, name, tolerance, fraction=fraction)
    g.input("x", g.ints(shape, dtype))
    g.op(kind, "x", f32(xs), np.asarray(xz, dtype), f32(ys), np.asarray(yz, dtype), out="y", domain=domain,
         **attributes)
    g.output("y", dtype, ys, yz)
    return g


def concat(name, shapes, axis, *, same=False, dtype=U8):
    g = Graph(FAMILY, name, "exact" if same else "one-step")
    shift = 128 if dtype == S8 else 0
    ys, yz = f32(0.0413), 123 - shift
    inputs = [ys, np.asarray(yz, dtype)]
    for i, shape in enumerate(shapes):
        scale = ys if same else g.scale(0.02, 0.05)
        point = yz if same else 110 + 9 * i - shift
        inputs += [g.input(f"x{i}", g.ints(shape, dtype)), scale, np.asarray(point, dtype)]
    g.op("QLinearConcat", *inputs, out="y", domain=MS, axis=axis)
    g.output("y", dtype, ys, yz)
    return g


def cases():
    same = [1, 1, 1, 1]
    yield conv("conv", [1, 5, 7, 8], 6, [3, 3], pads=same)
    yield conv("conv_k1x1", [1, 19, 4, 5], 17, [1, 1], pads=[0] * 4)
    yield conv("conv_stride2", [1, 3, 11, 10], 7, [3, 3], pads=[1, 0, 1, 0], strides=(2, 2))
    yield conv("conv_depthwise", [1, 9, 7, 6], 9, [3, 3], pads=same, group=9)
    yield conv("conv_group2", [1, 6, 6, 6], 4, [3, 3], pads=same, group=2)
    yield conv("conv_no_bias", [1, 4, 6, 6], 5, [3, 3], pads=same, bias=False)
    yield conv("conv_per_tensor", [1, 4, 6, 6], 5, [3, 3], pads=same, per_channel=False)
    yield conv("conv_uint8_weights", [1, 4, 6, 6], 5, [3, 3], pads=same, per_channel=False, w_type=U8, w_zp=119)
    yield conv("conv_batch2", [2, 4, 5, 4], 5, [3, 3], pads=same)
    yield conv("conv_int8", [1, 5, 7, 8], 6, [3, 3], pads=same, x_type=S8, x_zp=-9, y_zp=3)
    yield conv("conv_int8_depthwise", [1, 8, 6, 6], 8, [3, 3], pads=same, x_type=S8, x_zp=-128, y_zp=3, group=8)
    yield matmul("matmul", [5, 23], 11)
    yield matmul("matmul_per_tensor", [4, 33], 9, per_column=False)
    yield matmul("matmul_weight_zero_point", [4, 18], 9, per_column=False, w_zp=11)
    yield matmul("matmul_uint8_weights", [4, 18], 9, per_column=False, w_type=U8, w_zp=130)
    yield matmul("matmul_one_row", [1, 65], 34)
    yield matmul("matmul_3d", [2, 5, 14], 7)
    yield matmul("matmul_int8", [5, 23], 11, x_type=S8, x_zp=4, y_zp=-7)
    yield matmul("matmul_int8_per_tensor", [5, 23], 11, x_type=S8, x_zp=4, y_zp=-7, per_column=False)
    yield gemm("gemm", 3, 21, 10)
    yield gemm("gemm_trans_b", 3, 21, 10, trans_b=1)
    yield gemm("gemm_per_tensor", 1, 40, 10, per_column=False)
    yield gemm("gemm_no_bias", 2, 17, 9, bias=False, trans_b=1)
    yield gemm("gemm_uint8_weights", 2, 17, 9, per_column=False, w_type=U8, w_zp=122)
    yield gemm("gemm_int8", 3, 21, 10, x_type=S8, x_zp=-5, y_zp=6, trans_b=1)
    for dtype, suffix in ((U8, ""), (S8, "_int8")):
        for kind, word in (("QLinearAdd", "add"), ("QLinearMul", "mul")):
            yield binary(f"{word}{suffix}", kind, [1, 7, 5, 6], [1, 7, 5, 6], dtype=dtype)
            yield binary(f"{word}_channels{suffix}", kind, [1, 7, 5, 6], [1, 7, 1, 1], dtype=dtype)
            yield binary(f"{word}_constant{suffix}", kind, [1, 6, 5, 5], [6, 1, 1], dtype=dtype, constant="b")
            yield binary(f"{word}_scalar{suffix}", kind, [1, 4, 33], [], dtype=dtype, constant="b")
    yield binary("add_left_constant", "QLinearAdd", [9], [3, 5, 9], constant="a")
    yield binary("mul_two_way_broadcast", "QLinearMul", [1, 5, 1, 6], [4, 5, 7, 1])
    yield binary("add_extreme_zero_points", "QLinearAdd", [3, 40], [3, 40], zero_points=(0, 255, 128))
    for dtype, suffix, shift in ((U8, "", 0), (S8, "_int8", 128)):
        z = lambda value, by=shift: value - by
        pool = [1, 5, 9, 8]
        yield unary(f"global_average_pool{suffix}", "QLinearGlobalAveragePool", [1, 37, 7, 6], 0.031, z(120), 0.0087,
                    z(131), dtype=dtype)
        yield unary(f"average_pool{suffix}", "QLinearAveragePool", pool, 0.031, z(120), 0.0217, z(131), dtype=dtype,
                    kernel_shape=[3, 3], strides=[2, 2])
        yield unary(f"average_pool_pads{suffix}", "QLinearAveragePool", pool, 0.031, z(120), 0.0217, z(131),
                    dtype=dtype, kernel_shape=[3, 3], pads=same)
        yield unary(f"average_pool_count_pads{suffix}", "QLinearAveragePool", pool, 0.031, z(120), 0.0217, z(131),
                    dtype=dtype, kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=1)
        yield unary(f"sigmoid{suffix}", "QLinearSigmoid", [2, 256], 0.0471, z(128), 0.00390625, z(0), dtype=dtype)
        yield unary(f"sigmoid_offset{suffix}", "QLinearSigmoid", [2, 256], 0.063, z(90), 0.0052, z(20), dtype=dtype)
        yield unary(f"leaky_relu{suffix}", "QLinearLeakyRelu", [2, 256], 0.0413, z(140), 0.0371, z(31), dtype=dtype,
                    alpha=0.1)
        yield unary(f"leaky_relu_default{suffix}", "QLinearLeakyRelu", [2, 256], 0.0413, z(140), 0.0213, z(3),
                    dtype=dtype)
        yield unary(f"softmax{suffix}", "QLinearSoftmax", [6, 41], 0.0273, z(150), 0.00390625, z(0), dtype=dtype,
                    axis=-1, opset=13)
        yield unary(f"softmax_channels{suffix}", "QLinearSoftmax", [1, 9, 5, 6], 0.0273, z(150), 0.00390625, z(0),
                    dtype=dtype, axis=1, opset=13)
        parts = [[1, 3, 5, 6], [1, 5, 5, 6], [1, 4, 5, 6]]
        yield concat(f"concat{suffix}", parts, 1, dtype=dtype)
        yield concat(f"concat_same_scale{suffix}", parts, 1, same=True, dtype=dtype)
    yield unary("average_pool_same_scale", "QLinearAveragePool", [1, 5, 8, 8], 0.031, 120, 0.031, 120,
                kernel_shape=[2, 2], strides=[2, 2], fraction=0.3)
    yield unary("average_pool_1d", "QLinearAveragePool", [1, 5, 24], 0.031, 120, 0.0217, 131, kernel_shape=[4],
                strides=[3])
    yield unary("global_average_pool_channels_last", "QLinearGlobalAveragePool", [1, 6, 7, 37], 0.031, 120, 0.0087,
                131, channels_last=1)
    yield concat("concat_last_axis", [[2, 3, 7], [2, 3, 4]], -1)
