"""Makes a small float network, samples for it, and what onnxruntime says of both.

    pip install numpy onnx==1.23.* onnxruntime==1.31.*
    python make.py

network.onnx    Conv, BatchNormalization, Relu, MaxPool, depthwise Conv, Clip, Concat, Add, pooling, MatMul + Add, Softmax
samples.npz     x [16, 3, 12, 12]
answers.npz     float outputs of onnxruntime; scales and zero points of onnxruntime.quantization.quantize_static
                (MinMax, per channel, uint8 activations, int8 weights), by tensor name
"""

import os
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

random = np.random.default_rng(7)
os.chdir(os.path.dirname(os.path.abspath(__file__)))
constants = {}


def constant(name, array):
    constants[name] = np.asarray(array)
    return name


def weights(name, *shape):
    fan_in = np.prod(shape[1:])
    return constant(name, random.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32))


def vector(name, n, low, high):
    return constant(name, random.uniform(low, high, n).astype(np.float32))


norm = [vector("gamma", 8, 0.5, 2), vector("beta", 8, -1, 1), vector("mean", 8, -1, 1), vector("variance", 8, 0.5, 2)]
nodes = [
    helper.make_node("Conv", ["x", weights("w1", 8, 3, 3, 3)], ["c1"], "conv1", pads=[1, 1, 1, 1]),
    helper.make_node("BatchNormalization", ["c1", *norm], ["n1"], "norm1", epsilon=0.001),
    helper.make_node("Relu", ["n1"], ["r1"], "relu1"),
    helper.make_node("MaxPool", ["r1"], ["p1"], "pool1", kernel_shape=[2, 2], strides=[2, 2]),
    helper.make_node("Conv", ["p1", weights("w2", 8, 1, 3, 3), vector("b2", 8, -1, 1)], ["c2"], "conv2", group=8, pads=[1, 1, 1, 1]),
    helper.make_node("Clip", ["c2", constant("low", np.float32(0)), constant("high", np.float32(6))], ["r2"], "clip2"),
    helper.make_node("Conv", ["r2", weights("w3", 8, 8, 1, 1), vector("b3", 8, -1, 1)], ["c3"], "conv3"),
    helper.make_node("Add", ["c3", "p1"], ["a3"], "add3"),
    helper.make_node("Concat", ["a3", "r2"], ["k3"], "concat3", axis=1),
    helper.make_node("GlobalAveragePool", ["k3"], ["g4"], "pool4"),
    helper.make_node("Reshape", ["g4", constant("shape", np.array([-1, 16]))], ["f4"], "reshape4"),
    helper.make_node("MatMul", ["f4", weights("w5", 16, 5)], ["m5"], "matmul5"),
    helper.make_node("Add", ["m5", vector("b5", 5, -1, 1)], ["d5"], "add5"),
    helper.make_node("Softmax", ["d5"], ["y"], "softmax6"),
]
graph = helper.make_graph(
    nodes,
    "network",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 12, 12])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])],
    [numpy_helper.from_array(array, name) for name, array in constants.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "network.onnx")

x = random.uniform(-2, 2, (16, 3, 12, 12)).astype(np.float32)
np.savez_compressed("samples.npz", x=x)


class Samples(quantization.CalibrationDataReader):
    def __init__(self):
        self.samples = iter(x)

    def get_next(self):
        sample = next(self.samples, None)
        return None if sample is None else {"x": sample[None]}


answers = {}
with tempfile.TemporaryDirectory() as folder:
    folded, int8 = os.path.join(folder, "folded.onnx"), os.path.join(folder, "int8.onnx")
    quantization.quant_pre_process("network.onnx", folded, skip_symbolic_shape=True)
    quantization.quantize_static(
        folded,
        int8,
        Samples(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax,
    )
    for tensor in onnx.load(int8).graph.initializer:
        if tensor.name.endswith(("_scale", "_zero_point")):
            answers[tensor.name] = numpy_helper.to_array(tensor).astype(np.float32)

session = onnxruntime.InferenceSession("network.onnx", providers=["CPUExecutionProvider"])
answers["y"] = session.run(["y"], {"x": x})[0]
np.savez_compressed("answers.npz", **answers)
print("\n".join(f"{name} {array.shape} {array.ravel()[:3]}" for name, array in answers.items()))
