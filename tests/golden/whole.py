"""Family whole: small random networks quantized by onnxruntime's own quantizer, in both its formats."""

import logging
import pathlib
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from graph import Graph

FAMILY = "whole"
SAMPLES = 2
SIZE = [1, 3, 16, 14]


class FloatNet(Graph):
    """A float network with random weights that keep activations near 1."""

    def __init__(self, name):
        super().__init__(FAMILY, name, "float", 13)

    def conv(self, x, channels, out, kernel=1, stride=1, group=1, activation="relu"):
        shape = [out, channels // group, kernel, kernel]
        w = self.rng.normal(0, np.sqrt(1.6 / np.prod(shape[1:])), shape).astype(np.float32)
        w *= self.rng.uniform(0.5, 1.6, [out, 1, 1, 1]).astype(np.float32)
        y = self.op("Conv", x, w, self.real([out], -0.2, 0.3), kernel_shape=[kernel] * 2, strides=[stride] * 2,
                    pads=[kernel // 2] * 4, group=group)
        if activation == "relu":
            return self.op("Relu", y)
        return self.op("Clip", y, np.float32(0), np.float32(6)) if activation == "relu6" else y

    def head(self, x, channels, classes):
        """Global pool, Flatten, Gemm; the feature map before the pool is an output too."""
        self.output("features")
        self.nodes[-1].output[0] = "features"
        assert x != "features"
        y = self.op("Flatten", self.op("GlobalAveragePool", "features"))
        w = self.real([classes, channels], -1, 1)
        self.op("Gemm", y, w, self.real([classes], -0.3, 0.3), transB=1, out="scores")
        self.output("scores")
        return self


def mobile():
    """MobileNetV2's ways: inverted residuals with ReLU6, one residual Add, global pool, Gemm."""
    net = FloatNet("mobile")
    net.input("image", net.real(SIZE))
    x = net.conv("image", 3, 8, 3, 2, activation="relu6")
    y = net.conv(x, 8, 16, activation="relu6")
    y = net.conv(y, 16, 16, 3, group=16, activation="relu6")
    x = net.op("Add", x, net.conv(y, 16, 8, activation=None))
    y = net.conv(x, 8, 16, activation="relu6")
    y = net.conv(y, 16, 16, 3, 2, group=16, activation="relu6")
    x = net.conv(net.conv(y, 16, 10, activation=None), 10, 24, activation="relu")
    return net.head(x, 24, 10)


def shuffle():
    """ShuffleNet's and SqueezeNet's ways: MaxPool, grouped 1×1, channel shuffle, Concat, global pool, Gemm."""
    net = FloatNet("shuffle")
    net.input("image", net.real(SIZE))
    x = net.op("MaxPool", net.conv("image", 3, 8, 3, 1), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    y = net.conv(x, 8, 8, group=2)
    y = net.op("Reshape", y, np.array([1, 2, 4, 8, 7]))
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3, 4]), np.array([1, 8, 8, 7]))
    y = net.conv(net.conv(y, 8, 8, 3, group=8, activation=None), 8, 6, group=2)
    x = net.op("Concat", x, y, axis=1)
    x = net.op("Concat", net.conv(x, 14, 8), net.conv(x, 14, 6, 3), axis=1)
    return net.head(net.conv(x, 14, 20, 3, 2), 20, 10)


class Reader(CalibrationDataReader):
    """Sixteen random images."""

    def __init__(self, rng):
        self.feeds = iter([{"image": rng.uniform(-3, 3, SIZE).astype(np.float32)} for _ in range(16)])

    def get_next(self):
        return next(self.feeds, None)


class Whole:
    """One sample of one quantized network, with what `Graph` offers."""

    family, symbolic, contract, tolerance = FAMILY, False, None, "one-step"

    def __init__(self, network, quantized, feeds, sample, extra):
        self.quantized_model, self.feeds, self.extra = quantized, feeds, extra
        self.model_name, self.name = network, f"{network}_{sample}"
        self.outputs = [output_entry(quantized.graph, o.name) for o in quantized.graph.output]

    def model(self, _results=None):
        return self.quantized_model


def output_entry(graph, name):
    """The grid of an output: scale and zero point of the DequantizeLinear that makes it."""
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    node = [n for n in graph.node if name in n.output][0]
    assert node.op_type == "DequantizeLinear", node.op_type
    scale, point = values[node.input[1]], values[node.input[2]]
    return {"name": name, "type": "float32", "scale": float(scale), "zero_point": int(point),
            "quantized_type": point.dtype.name}


def cases():
    logging.disable(logging.WARNING)
    variants = [("qdq", U8, True), ("qdq", U8, False), ("qoperator", U8, True), ("qoperator", U8, False),
                ("qdq", S8, True), ("qoperator", S8, True)]
    for build in (mobile, shuffle):
        net = build()
        with tempfile.TemporaryDirectory() as folder:
            plain, prepared, made = (str(pathlib.Path(folder) / f"{n}.onnx") for n in ("plain", "prepared", "made"))
            onnx.save(net.model(), plain)
            quant_pre_process(plain, prepared, skip_symbolic_shape=True)
            for form, kind, per_channel in variants:
                name = f"{net.name}_{form}_{'uint8' if kind == U8 else 'int8'}{'_per_channel' if per_channel else ''}"
                quantize_static(prepared, made, Reader(np.random.default_rng(7)), per_channel=per_channel,
                                quant_format=QuantFormat.QDQ if form == "qdq" else QuantFormat.QOperator,
                                activation_type=kind, weight_type=S8)
                quantized = onnx.load(made)
                del quantized.graph.value_info[:]
                for sample in range(SAMPLES):
                    rng = np.random.default_rng(100 + sample)
                    feeds = {"image": rng.uniform(-3, 3, SIZE).astype(np.float16).astype(np.float32)}
                    yield Whole(name, quantized, feeds, sample, {"fraction": 0.02})


U8, S8 = QuantType.QUInt8, QuantType.QInt8
