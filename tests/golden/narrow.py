"""Family narrow: convolutions and matrix products whose weights take 4 bits in the file: INT4 with one scale per channel
or per block (opset 21), UINT4 with zero points, and UINT4 indices of a table (Cast, Gather)."""

import numpy as np
from onnx import TensorProto, helper

from check import accumulate, requantize
from graph import S8, U8, Graph

FAMILY = "narrow"
OPSET = 21


def four_bits(g, array, signed):
    """An INT4 or UINT4 initializer, two elements in a byte, the first one low."""
    name = g.fresh("n")
    halves = np.append(array.reshape(-1).astype(np.int64) & 15, np.zeros(array.size % 2, np.int64)).astype(np.uint8)
    kind = TensorProto.INT4 if signed else TensorProto.UINT4
    data = (halves[0::2] | halves[1::2] << 4).tobytes()
    g.initializers.append(helper.make_tensor(name, kind, array.shape, data, raw=True))
    return name


def unit(g, deviation, shape):
    """Scales with the last 5 bits of their mantissa zero, so that products with factors up to 18 are exact."""
    scales = g.scale(0.5 * deviation, 1.5 * deviation, shape)
    return (scales.view(np.uint32) & np.uint32(0xFFFFFFE0)).view(np.float32)


def layer(name, shape, out, kernel, form, *, block=0, group=1, pads=None, stride=1, tolerance="exact", real_output=False,
          gemm=None):
    """A layer between Q/DQ pairs; `form` says how its weights are stored, `gemm` is transB of a matrix product."""
    g = Graph(FAMILY, name, tolerance, OPSET, fraction=0.02)
    xs, x_zp, y_zp = g.scale(), 118, 131
    x = g.qdq_input("x", shape, xs, x_zp, U8)
    inputs = shape[1] // group
    w_shape = [out, inputs, *kernel]
    terms = int(np.prod(w_shape[1:]))
    ws = unit(g, 0.005, (out,))
    points = 0
    if form == "int4":
        levels = g.ints(w_shape, S8, -8, 7)
        stored, factors = levels, None
    elif form == "blocks":
        stored = g.ints(w_shape, S8, -7, 7)
        factors = g.ints([out, -(-inputs // block), *kernel], S8, 1, 18)
        factors.reshape(out, -1)[:, 0] = 1
        levels = (stored * np.repeat(factors, block, 1)[:, :inputs]).astype(S8)
    elif form == "uint4":
        stored = g.ints(w_shape, U8, 0, 15)
        points = g.ints([out], U8, 0, 15)
        levels = (stored.astype(np.int64) - points.reshape(-1, 1, 1, 1)).astype(S8)
    elif form == "table":
        table = np.sort(np.append(g.ints([15], S8, -127, 127), np.int8(0))).astype(S8)
        stored = g.ints(w_shape, U8, 0, 15)
        levels = table[stored]
    flat = gemm is not None
    if flat and gemm == 0:
        turn = lambda a: np.ascontiguousarray(a.reshape(a.shape[:2]).T)
    else:
        turn = lambda a: a.reshape(a.shape[:2]) if flat else a
    channel_axis, input_axis = (1, 0) if gemm == 0 else (0, 1)
    if form == "blocks":
        scales = turn((factors * ws.reshape(-1, 1, 1, 1)).astype(np.float32))
        w = g.op("DequantizeLinear", four_bits(g, turn(stored), True), g.const(scales), axis=input_axis, block_size=block)
    elif form == "int4":
        w = g.op("DequantizeLinear", four_bits(g, turn(stored), True), g.const(ws), axis=channel_axis)
    elif form == "uint4":
        w = g.op("DequantizeLinear", four_bits(g, turn(stored), False), g.const(ws), four_bits(g, points, False),
                 axis=channel_axis)
    else:
        index = g.op("Cast", four_bits(g, turn(stored), False), to=TensorProto.INT32)
        w = g.op("Gather", g.const(table), index, axis=0)
        w = g.op("DequantizeLinear", w, g.const(ws), g.const(np.zeros(out, S8)), axis=channel_axis)
    deviation = np.sqrt(terms * np.mean(levels.astype(float) ** 2)) * 70 * xs * np.mean(ws)
    ys = np.float32(deviation * 5 / 255)
    b = g.ints([out], np.int32, -2000, 2000)
    bias = g.dq_bias(b, xs * ws)
    pads = pads or [0] * 4
    if flat:
        y = g.op("Gemm", x, w, bias, transB=gemm)
    else:
        y = g.op("Conv", x, w, bias, kernel_shape=kernel, pads=pads, group=group, strides=[stride, stride])
    g.qdq_output(y, ys, y_zp, U8)

    def contract():
        x4 = g.quantized["x"].reshape(*shape[:2], *(shape[2:] or [1, 1]))
        acc = accumulate(x4, x_zp, levels, np.zeros(out, S8), b, [stride, stride], pads, [1, 1], group)
        ints = requantize(acc, xs, ws, ys, y_zp, U8, 1)
        return {"y": ((ints.astype(np.float32) - np.float32(y_zp)) * ys).astype(np.float32).reshape(
            shape[0], out, *([] if flat else ints.shape[2:]))}

    g.contract = contract
    return g


def cases():
    # In onnxruntime int4 stays float, so a sum may end just beside a half; a table becomes int8.
    near = {"tolerance": "one-step"}
    yield layer("int4_k1x1", [1, 64, 5, 5], 24, [1, 1], "int4", **near)
    yield layer("int4_k3x3", [1, 16, 7, 6], 20, [3, 3], "int4", pads=[1] * 4, **near)
    yield layer("int4_group2", [1, 32, 5, 5], 16, [3, 3], "int4", group=2, pads=[1] * 4, **near)
    yield layer("int4_depthwise", [1, 9, 6, 6], 9, [3, 3], "int4", group=9, **near)
    yield layer("int4_gemm", [2, 96], 20, [1, 1], "int4", gemm=0, **near)
    yield layer("blocks32_k1x1", [1, 64, 5, 5], 24, [1, 1], "blocks", block=32, **near)
    yield layer("blocks32_ragged", [1, 48, 5, 5], 16, [1, 1], "blocks", block=32, **near)
    yield layer("blocks16_k3x3", [1, 32, 7, 6], 20, [3, 3], "blocks", block=16, pads=[1] * 4, **near)
    yield layer("blocks6_k3x3", [1, 18, 5, 5], 9, [3, 3], "blocks", block=6, **near)
    yield layer("blocks32_gemm", [3, 96], 40, [1, 1], "blocks", block=32, gemm=1, **near)
    yield layer("blocks32_gemm_columns", [1, 128], 40, [1, 1], "blocks", block=32, gemm=0, **near)
    yield layer("uint4_zero_points", [1, 32, 5, 5], 16, [3, 3], "uint4", **near)
    yield layer("table_k1x1", [1, 64, 5, 5], 24, [1, 1], "table")
    yield layer("table_k3x3_stride2", [1, 20, 9, 8], 36, [3, 3], "table", pads=[1] * 4, stride=2)
    yield layer("table_odd", [1, 7, 5, 5], 9, [3, 3], "table")
    yield layer("table_gemm", [1, 100], 33, [1, 1], "table", gemm=1)
