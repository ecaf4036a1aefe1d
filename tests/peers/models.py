"""Writes the models to compare on: target/peers/models (float ONNX) and target/peers/int8 (what `quantize` makes of them).

MobileNetV1 1.0 224 (arXiv:1704.04861) and MobileNetV2 1.0 224 (arXiv:1801.04381) are built here with random weights:
batch normalisation is folded already, ReLU6 is Clip(0, 6). The others come from ../shared/data/models where that
folder is present, with the batch axis set to 1. Calibration data is random, in the range that each model documents:
shapes matter here, accuracy does not.
"""
import argparse
import pathlib
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "target/peers"
OTHERS = ROOT / "../shared/data/models"

# name: input shape, lowest and highest input value
MODELS = {
    "mobilenet_v1": ((1, 3, 224, 224), -2.0, 2.5),
    "mobilenet_v2": ((1, 3, 224, 224), -2.0, 2.5),
    "mlperf_vww_mobilenetv1_025": ((1, 96, 96, 3), 0.0, 1.0),
    "mlperf_ic_resnet8": ((1, 32, 32, 3), 0.0, 255.0),
    "mlperf_kws_dscnn": ((1, 49, 10, 1), -20.0, 20.0),
    "mlperf_ad01_autoencoder": ((1, 640), -60.0, 10.0),
    "efficientnet_lite0_224": ((1, 3, 224, 224), -1.0, 1.0),
    "squeezenet_v1.1": ((1, 3, 227, 227), -120.0, 140.0),
}


class Network:
    """A chain of nodes on one tensor, NCHW."""

    def __init__(self, name, channels, size):
        self.name, self.channels = name, channels
        self.random = np.random.default_rng(1)
        self.nodes, self.constants = [], []
        self.input = helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, channels, size, size))
        self.tensor = "input"

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, kind, inputs, **attributes):
        self.tensor = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [self.tensor], f"{kind}_{len(self.nodes)}", **attributes))

    def convolution(self, outputs, kernel=1, stride=1, depthwise=False, relu6=True):
        inputs = 1 if depthwise else self.channels
        spread = np.sqrt((2.0 if relu6 else 1.0) / (inputs * kernel * kernel))
        weights = self.random.normal(0, spread, (outputs, inputs, kernel, kernel))
        bias = self.random.normal(0, 0.1, outputs)
        self.node("Conv", [self.tensor, self.constant(weights), self.constant(bias)],
                  kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4,
                  group=self.channels if depthwise else 1)
        if relu6:
            self.node("Clip", [self.tensor, self.constant(0), self.constant(6)])
        self.channels = outputs

    def depthwise(self, stride):
        self.convolution(self.channels, kernel=3, stride=stride, depthwise=True)

    def classifier(self, classes):
        self.node("GlobalAveragePool", [self.tensor])
        self.node("Flatten", [self.tensor], axis=1)
        weights = self.random.normal(0, np.sqrt(1 / self.channels), (classes, self.channels))
        bias = self.random.normal(0, 0.1, classes)
        self.node("Gemm", [self.tensor, self.constant(weights), self.constant(bias)], transB=1)
        self.channels = classes

    def model(self):
        output = helper.make_tensor_value_info(self.tensor, TensorProto.FLOAT, (1, self.channels))
        graph = helper.make_graph(self.nodes, self.name, [self.input], [output], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def mobilenet_v1():
    net = Network("mobilenet_v1", 3, 224)
    net.convolution(32, kernel=3, stride=2)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for outputs, stride in blocks:
        net.depthwise(stride)
        net.convolution(outputs)
    net.classifier(1000)
    return net.model()


def mobilenet_v2():
    net = Network("mobilenet_v2", 3, 224)
    net.convolution(32, kernel=3, stride=2)
    # expansion, output channels, repeats, first stride: table 2 of the paper
    for expansion, outputs, repeats, first in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                               (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
        for stride in [first] + [1] * (repeats - 1):
            block_input, inputs = net.tensor, net.channels
            if expansion > 1:
                net.convolution(inputs * expansion)
            net.depthwise(stride)
            net.convolution(outputs, relu6=False)
            if stride == 1 and inputs == outputs:
                net.node("Add", [block_input, net.tensor])
    net.convolution(1280)
    net.classifier(1000)
    return net.model()


BUILT = {"mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenet_v2}


def with_batch_of_one(path):
    model = onnx.load(path)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


def float_model(name):
    """The model, or nothing when it comes from a folder that is not there."""
    if name in BUILT:
        return BUILT[name]()
    path = OTHERS / f"{name}.onnx"
    return with_batch_of_one(path) if path.exists() else None


def samples(name, count=8):
    shape, low, high = MODELS[name]
    return np.random.default_rng(2).uniform(low, high, (count, *shape[1:])).astype(np.float32)


def make(name):
    """Writes the float model and the int8 model of one name; returns whether they are there."""
    float_path, int8_path = OUT / f"models/{name}.onnx", OUT / f"int8/{name}.int8.onnx"
    if int8_path.exists():
        return True
    model = float_model(name)
    if model is None:
        print(f"SKIPPED {name}: the models of others are not beside this repository (../shared/data)", file=sys.stderr)
        return False
    for path in (float_path, int8_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, float_path)
    np.savez(OUT / f"models/{name}.npz", x=samples(name))
    # Int8 for all, results too: no layer on 16 bits, and no last layer that gives real numbers, which LiteRT has not.
    quantize([float_path, "--calib", OUT / f"models/{name}.npz", "--no-mixed", "--outputs", "int8", "-o", int8_path])
    return True


def plan(name):
    """The plan of one name, compiled anew: its format may have changed."""
    path = OUT / f"int8/{name}.cyg"
    quantize(["compile", OUT / f"int8/{name}.int8.onnx", "-o", path])
    return path


def quantize(arguments):
    subprocess.run([ROOT / "target/release/quantize", *arguments], check=True, stdout=subprocess.DEVNULL)


def check(name):
    """Runs both files with onnxruntime and prints how far the int8 answer is from the float one."""
    import onnxruntime
    answers = []
    for path in (OUT / f"models/{name}.onnx", OUT / f"int8/{name}.int8.onnx"):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        answers.append(session.run(None, {session.get_inputs()[0].name: samples(name)[:1]})[0].ravel())
    distance = np.abs(answers[0] - answers[1]).max() / np.abs(answers[0]).max()
    print(f"{name}: {answers[0].size} outputs, int8 differs from float by at most {100 * distance:.1f} % of the largest")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("names", nargs="*", default=list(MODELS))
    for model_name in arguments.parse_args().names:
        if make(model_name):
            plan(model_name)
            check(model_name)
