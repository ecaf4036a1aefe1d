"""Family int16: operators between QuantizeLinear and DequantizeLinear of int16, and the borders to int8.

onnxruntime computes them in float32 between DQ and Q, so results may be one step off. Writes int16/ and int16.json.
Same environment and same layout as make.py.
"""
import json
import pathlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE / "int16"
TYPES = {"float32": T.FLOAT, "int16": T.INT16, "int8": T.INT8, "int64": T.INT64}
CASES = []
LIMITS = {np.int8: (-128, 127), np.int16: (-32768, 32767)}


class Graph:
    """A model that grows; float tensors are quantized where `quantized` is called."""

    def __init__(self, name, seed):
        self.name, self.random = name, np.random.default_rng(seed)
        self.nodes, self.inits, self.inputs, self.outputs = [], [], {}, []
        self.count = 0

    def fresh(self):
        self.count += 1
        return f"t{self.count}"

    def const(self, value):
        name = self.fresh()
        self.inits.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, kind, *inputs, count=1, out=None, **attributes):
        names = [i if isinstance(i, str) else self.const(i) for i in inputs]
        outs = [out] if out else [self.fresh() for _ in range(count)]
        self.nodes.append(h.make_node(kind, names, outs, **attributes))
        return outs[0]

    def real(self, *shape, spread=1.0):
        return (self.random.standard_normal(shape) * spread).astype(np.float32)

    def input(self, *shape, spread=1.0):
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self.real(*shape, spread=spread)
        return name

    def quantized(self, x, scale, zero=0, kind=np.int16, out=None):
        """Through Q and DQ."""
        parameters = [self.const(np.float32(scale)), self.const(kind(zero))]
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, *parameters), *parameters, out=out)

    def stored(self, values, kind=np.int16):
        """A constant of levels with one scale."""
        scale = np.float32(np.abs(values).max() / LIMITS[kind][1])
        levels = np.clip(np.rint(values / scale), *LIMITS[kind]).astype(kind)
        return self.op("DequantizeLinear", levels, scale, kind(0))

    def weights(self, *shape, axis=0, bias=None, input_scale=None):
        values = self.real(*shape)
        other = tuple(i for i in range(len(shape)) if i != axis)
        scale = (np.abs(values).max(axis=other) / 127).astype(np.float32)
        view = [1] * len(shape)
        view[axis] = -1
        levels = np.rint(values / scale.reshape(view)).astype(np.int8)
        result = [self.op("DequantizeLinear", levels, scale, np.zeros(len(scale), np.int8), axis=axis)]
        if bias is not None:
            scales = (np.float32(input_scale) * scale).astype(np.float32)
            real = self.real(len(scale), spread=bias)
            result.append(self.op("DequantizeLinear", np.rint(real / scales).astype(np.int32), scales, axis=0))
        return result

    def output(self, name, scale=None, kind="float32", zero=0):
        self.outputs.append((name, scale, kind, zero))

    def finish(self, share=0.01):
        inputs = [h.make_tensor_value_info(k, TYPES[str(v.dtype)], v.shape) for k, v in self.inputs.items()]
        outputs = [h.make_tensor_value_info(n, TYPES[kind], None) for n, _, kind, _ in self.outputs]
        graph = h.make_graph(self.nodes, self.name, inputs, outputs, self.inits)
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 21)], ir_version=10)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        answers = session.run([n for n, *_ in self.outputs], self.inputs)
        onnx.save(model, FOLDER / f"{self.name}.onnx")
        arrays = {f"in.{k}": v for k, v in self.inputs.items()}
        arrays |= {f"out.{n}": a for (n, *_), a in zip(self.outputs, answers)}
        np.savez_compressed(FOLDER / f"{self.name}.npz", **arrays)
        described = []
        for (name, scale, kind, zero), answer in zip(self.outputs, answers):
            entry = dict(name=name, type=kind)
            if scale is not None:
                entry |= dict(scale=float(np.float32(scale)), zero_point=zero)
                levels = np.rint(answer / np.float32(scale)) if kind == "float32" else answer
                assert len(np.unique(levels)) > min(answer.size, 40) / 4, f"{self.name}: hardly any levels in {name}"
            described.append(entry)
        tolerance = {"class": "one-step", "max_step": 1, "max_fraction": share} if share else {"class": "exact"}
        CASES.append(dict(name=self.name, family="int16", model=f"int16/{self.name}.onnx", data=f"int16/{self.name}.npz",
                          tolerance=tolerance, outputs=described))


IN, OUT = 4 / 32767, 16 / 32767
SAME = dict(pads=[1, 1, 1, 1])


def conv(name, shape, out, kernel, *, group=1, relu=None, zero=0, y=OUT, y_kind=np.int16, x_kind=np.int16, bias=1.0,
         x_scale=None, **attributes):
    g = Graph(name, len(CASES) + 1)
    scale = x_scale or (IN if x_kind is np.int16 else 4 / 127)
    x = g.quantized(g.input(*shape), scale, zero, x_kind)
    w = g.weights(out, shape[1] // group, *kernel, bias=bias, input_scale=scale)
    c = g.op("Conv", x, *w, kernel_shape=kernel, group=group, **attributes)
    if relu == "relu":
        c = g.op("Relu", c)
    elif relu:
        c = g.op("Clip", c, np.float32(0), np.float32(relu))
    g.quantized(c, y, 0, y_kind, out="y")
    g.output("y", y)
    g.finish()


def convolutions():
    conv("conv", [1, 8, 6, 7], 16, [3, 3], **SAME)
    conv("conv_relu", [1, 3, 9, 8], 20, [3, 3], relu="relu", strides=[2, 2], **SAME)
    conv("conv_clip", [1, 16, 5, 5], 24, [1, 1], relu=6)
    conv("conv_zero_point", [1, 5, 6, 6], 7, [3, 3], zero=-1234, **SAME)
    conv("conv_group", [1, 12, 6, 6], 8, [3, 3], group=2, **SAME)
    conv("conv_dilated", [1, 4, 9, 9], 6, [3, 3], dilations=[2, 2], pads=[2, 2, 2, 2])
    conv("conv_batch", [2, 4, 5, 5], 6, [3, 3], **SAME)
    conv("conv_1d", [1, 6, 20], 9, [5], pads=[2, 2], strides=[2])
    conv("conv_sums_of_64_bits", [1, 400, 5, 5], 18, [3, 3], y=256 / 32767, **SAME)
    conv("conv_to_int8", [1, 8, 6, 7], 16, [3, 3], y=16 / 127, y_kind=np.int8, **SAME)
    conv("conv_from_int8", [1, 8, 6, 7], 16, [3, 3], x_kind=np.int8, zero=-7, **SAME)
    conv("depthwise", [1, 21, 7, 6], 21, [3, 3], group=21, **SAME)
    conv("depthwise_relu", [1, 16, 8, 9], 16, [5, 5], group=16, relu="relu", strides=[2, 2], pads=[2, 2, 2, 2])
    conv("depthwise_multiple", [1, 6, 7, 6], 18, [3, 3], group=6, **SAME)
    g = Graph("conv_to_float", 90)
    g.op("Conv", g.quantized(g.input(1, 8, 6, 6), IN), *g.weights(12, 8, 3, 3, bias=1.0, input_scale=IN),
         kernel_shape=[3, 3], out="y")
    g.output("y", OUT)
    g.finish()
    # The second has a bias of more than 32 bits, in steps of the sums.
    for name, spread, y in [("conv_float_bias", 1.0, OUT), ("conv_great_bias", 20000.0, 60000 / 32767)]:
        g = Graph(name, 91)
        x, bias = g.quantized(g.input(1, 8, 6, 6), IN), g.real(12, spread=spread)
        g.quantized(g.op("Conv", x, *g.weights(12, 8, 3, 3), bias, kernel_shape=[3, 3]), y, out="y")
        g.output("y", y)
        g.finish()


def products():
    for name, transposed in [("gemm", 1), ("gemm_plain", 0)]:
        g = Graph(name, 100 + transposed)
        x = g.quantized(g.input(3, 40), IN)
        w = g.weights(*([10, 40] if transposed else [40, 10]), axis=1 - transposed, bias=1.0, input_scale=IN)
        g.quantized(g.op("Gemm", x, *w, transB=transposed), 32 / 32767, out="y")
        g.output("y", 32 / 32767)
        g.finish()
    g = Graph("matmul", 102)
    g.quantized(g.op("MatMul", g.quantized(g.input(1, 5, 24), IN), *g.weights(24, 17, axis=1)), 32 / 32767, out="y")
    g.output("y", 32 / 32767)
    g.finish()
    for name, kind in [("matmul_of_two", np.int16), ("matmul_of_two_types", np.int8)]:
        g = Graph(name, 103)
        a, b = g.quantized(g.input(2, 5, 12), IN, 55), g.quantized(g.input(2, 12, 7), 4 / LIMITS[kind][1], 3, kind)
        g.quantized(g.op("MatMul", a, b), OUT, out="y")
        g.output("y", OUT)
        g.finish()


def elements():
    def pair(name, kind, left, right, y, right_kind=np.int16, y_kind=np.int16, constant=False, relu=False, zero=0):
        g = Graph(name, 200 + len(CASES))
        a = g.quantized(g.input(*left), IN, zero)
        b = g.stored(g.real(*right)) if constant else g.quantized(
            g.input(*right), 4 / LIMITS[right_kind][1], 0, right_kind)
        c = g.op(kind, a, b)
        g.quantized(g.op("Relu", c) if relu else c, y, 0, y_kind, out="y")
        g.output("y", y)
        g.finish()

    same = [1, 6, 4, 5]
    pair("add", "Add", same, same, 7.3 / 32767)
    pair("add_relu", "Add", same, same, 7.3 / 32767, relu=True)
    pair("add_row", "Add", same, [5], 7.3 / 32767)
    pair("add_constant", "Add", same, [6, 1, 1], 7.3 / 32767, constant=True)
    pair("add_of_two_types", "Add", same, same, 7.3 / 32767, right_kind=np.int8)
    pair("add_to_int8", "Add", same, same, 8 / 127, y_kind=np.int8)
    pair("sub", "Sub", same, same, 7.3 / 32767, zero=99)
    pair("mul", "Mul", same, same, 7.3 / 32767, zero=-3000)
    pair("mul_channels", "Mul", same, [1, 6, 1, 1], 7.3 / 32767)
    pair("prelu", "PRelu", same, [6, 1, 1], 8 / 32767, constant=True)
    g = Graph("max_min", 250)
    a, b = g.quantized(g.input(*same), IN), g.quantized(g.input(*same), IN)
    g.quantized(g.op("Max", a, b), IN, out="y")
    g.quantized(g.op("Min", a, b), IN, out="z")
    g.output("y", IN)
    g.output("z", IN)
    g.finish()
    for kind, y in [("Relu", IN), ("Sigmoid", 1 / 32768), ("Tanh", 1 / 32767), ("HardSwish", IN), ("LeakyRelu", IN),
                    ("Gelu", IN)]:
        g = Graph(kind.lower(), 260)
        g.quantized(g.op(kind, g.quantized(g.input(1, 4, 5, 6), IN)), y, out="y")
        g.output("y", y)
        g.finish()
    g = Graph("softmax", 270)
    g.quantized(g.op("Softmax", g.quantized(g.input(3, 12), IN), axis=-1), 1 / 32768, out="y")
    g.output("y", 1 / 32768)
    g.finish()


def borders():
    """Other widths, scales and zero points of the same values."""
    kinds = [("int8_to_int16", np.int8, 4 / 127, 5, np.int16, 4.5 / 32767, -17),
             ("int16_to_int8", np.int16, IN, 0, np.int8, 4 / 127, -9),
             ("int16_to_int16", np.int16, IN, 300, np.int16, 5 / 32767, -2000)]
    for name, kind, scale, zero, other, y, y_zero in kinds:
        g = Graph(name, 300)
        # The border stands between layers: MaxPool keeps the first pair.
        x = g.op("MaxPool", g.quantized(g.input(1, 5, 6, 6), scale, zero, kind), kernel_shape=[2, 2])
        g.quantized(x, y, y_zero, other, out="y")
        g.output("y", y)
        g.finish()
    g = Graph("levels_in_and_out", 310)
    g.inputs["x0"] = g.random.integers(-32768, 32768, (1, 6, 5, 5)).astype(np.int16)
    x = g.op("DequantizeLinear", "x0", np.float32(IN), np.int16(12))
    c = g.op("Conv", x, *g.weights(8, 6, 3, 3, bias=1.0, input_scale=IN), kernel_shape=[3, 3])
    g.op("QuantizeLinear", c, np.float32(64 / 32767), np.int16(0), out="y")
    g.output("y", 64 / 32767, "int16")
    g.finish()


def poolings_and_moves():
    def one(name, kind, *constants, shape=(1, 6, 7, 8), y=IN, **attributes):
        g = Graph(name, 400 + len(CASES))
        g.quantized(g.op(kind, g.quantized(g.input(*shape), IN), *constants, **attributes), y, out="y")
        g.output("y", y)
        g.finish()

    one("maxpool", "MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    one("averagepool", "AveragePool", kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 0], y=2.9 / 32767)
    one("averagepool_with_padding", "AveragePool", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1, y=2.9 / 32767)
    one("global_averagepool", "GlobalAveragePool", shape=(1, 50, 6, 7), y=1 / 32767)
    one("reduce_mean", "ReduceMean", np.array([1], np.int64), y=2 / 32767)
    one("reduce_max", "ReduceMax", np.array([2, 3], np.int64), shape=(1, 40, 4, 4))
    one("transpose", "Transpose", perm=[0, 2, 3, 1])
    one("pad", "Pad", np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64))
    one("slice", "Slice", np.array([1, 0], np.int64), np.array([6, 8], np.int64), np.array([2, 3], np.int64),
        np.array([1, 2], np.int64))
    one("resize_nearest", "Resize", "", np.array([1, 1, 2, 2], np.float32), mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric")
    one("resize_linear", "Resize", "", np.array([1, 1, 2, 2], np.float32), mode="linear", y=2.9 / 32767)
    one("depth_to_space", "DepthToSpace", shape=(1, 8, 3, 4), blocksize=2)
    for name, scales, kinds, y in [("concat", [IN, IN], [np.int16] * 2, IN),
                                   ("concat_of_two_scales", [IN, 5 / 32767], [np.int16] * 2, 5 / 32767),
                                   ("concat_of_two_types", [IN, 4 / 127], [np.int16, np.int8], IN)]:
        g = Graph(name, 450)
        parts = [g.quantized(g.input(1, 3 + i, 4, 4), s, 0, k) for i, (s, k) in enumerate(zip(scales, kinds))]
        g.quantized(g.op("Concat", *parts, axis=1), y, out="y")
        g.output("y", y)
        g.finish()
    g = Graph("argmax", 460)
    g.op("ArgMax", g.quantized(g.input(4, 30), IN), axis=1, out="y")
    g.output("y", None, "int64")
    g.finish(share=None)


def network():
    """A residual block whose middle is int8."""
    g = Graph("residual_with_int8_inside", 500)
    x = g.quantized(g.input(1, 8, 9, 9), IN)
    a = g.op("Relu", g.op("Conv", x, *g.weights(16, 8, 1, 1, bias=1.0, input_scale=IN), kernel_shape=[1, 1]))
    a = g.quantized(a, 16 / 127, 0, np.int8)
    d = g.op("Conv", a, *g.weights(16, 1, 3, 3, bias=1.0, input_scale=16 / 127), kernel_shape=[3, 3], group=16, **SAME)
    d = g.quantized(g.op("Relu", d), 40 / 32767)
    c = g.op("Conv", d, *g.weights(8, 16, 1, 1, bias=1.0, input_scale=40 / 32767), kernel_shape=[1, 1])
    y = g.op("Add", x, g.quantized(c, 128 / 32767))
    y = g.op("GlobalAveragePool", g.quantized(y, 128 / 32767))
    g.quantized(g.op("Flatten", y), 64 / 32767, out="y")
    g.output("y", 64 / 32767)
    # One step of the int8 tensor in the middle may go either way.
    g.finish(share=0.3)


def main():
    FOLDER.mkdir(exist_ok=True)
    convolutions()
    products()
    elements()
    borders()
    poolings_and_moves()
    network()
    (HERE / "int16.json").write_text(json.dumps(CASES, indent=1) + "\n")
    print(f"{len(CASES)} cases")


if __name__ == "__main__":
    main()
