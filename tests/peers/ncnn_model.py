"""ncnn models of ours: float by `pnnx`, int8 from that.

The int8 half does what ncnn's own ncnn2table and ncnn2int8 do, which no package carries: absolute maxima on the
calibration samples, int8 weights per channel, int8 kept between neighbouring convolutions.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import ncnn
import numpy as np
import onnx

INT8_TAG = (0x000D4B38).to_bytes(4, "little")
FLOAT_TAG = bytes(4)
# layer: number of outputs is parameter 0, has bias is this one, weight count is this one, int8 scale term
LAYERS = {"Convolution": (5, 6, 2), "ConvolutionDepthWise": (5, 6, 1), "InnerProduct": (1, 2, 2)}


class Layer:
    def __init__(self, line):
        words = line.split()
        self.kind, self.name, inputs, outputs = words[0], words[1], int(words[2]), int(words[3])
        self.inputs, self.outputs = words[4:4 + inputs], words[4 + inputs:4 + inputs + outputs]
        self.parameters = dict(word.split("=") for word in words[4 + inputs + outputs:])

    def __str__(self):
        parameters = [f"{key}={value}" for key, value in self.parameters.items()]
        counts = [str(len(self.inputs)), str(len(self.outputs))]
        return " ".join([self.kind, self.name, *counts, *self.inputs, *self.outputs, *parameters])


def make_float(model, param):
    shape = [d.dim_value for d in onnx.load(model).graph.input[0].type.tensor_type.shape.dim]
    program = next(pathlib.Path(sys.prefix).glob("lib/python*/site-packages/pnnx/pnnx"))
    with tempfile.TemporaryDirectory() as folder:  # pnnx writes beside the model it reads
        copy = pathlib.Path(folder, "model.onnx")
        shutil.copy(model, copy)
        subprocess.run([program, copy, f"inputshape={shape}".replace(" ", ""), "fp16=0"], check=True, cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        param.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(copy.with_suffix(".ncnn.param"), param)
        shutil.move(copy.with_suffix(".ncnn.bin"), param.with_suffix(".bin"))
    param.with_suffix(".json").write_text(json.dumps({"input": shape}))


def largest_inputs(param, layers, samples):
    """The largest absolute value of each layer's input."""
    net = ncnn.Net()
    net.opt.lightmode = False
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))
    largest = {layer.name: 1e-6 for layer in layers}
    for sample in samples:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(np.ascontiguousarray(sample)))
        for layer in layers:
            value = np.abs(np.array(extractor.extract(layer.inputs[0])[1])).max()
            largest[layer.name] = max(largest[layer.name], float(value))
    return largest


def make_int8(float_param, param, samples):
    lines = float_param.read_text().splitlines()
    layers = [Layer(line) for line in lines[2:]]
    quantized = [layer for layer in layers if layer.kind in LAYERS]
    largest = largest_inputs(float_param, quantized, samples)
    readers = {name: layer for layer in layers for name in layer.inputs}
    content, position, out = float_param.with_suffix(".bin").read_bytes(), 0, []

    def floats(count):
        nonlocal position
        position += 4 * count
        return np.frombuffer(content, np.float32, count, position - 4 * count)

    def scale(layer):
        return np.float32(127 / largest[layer.name])

    for layer in layers:
        if layer.kind not in LAYERS:
            if layer.kind in ("MemoryData", "BatchNorm", "Scale", "PReLU"):
                raise ValueError(f"{layer.name}: a {layer.kind} layer")
            continue
        has_bias, count, term = LAYERS[layer.kind]
        outputs, count = int(layer.parameters["0"]), int(layer.parameters[str(count)])
        if floats(1).tobytes() != FLOAT_TAG:
            raise ValueError(f"{layer.name}: weights are not float")
        weights = floats(count).reshape(outputs, -1)
        bias = floats(outputs) if layer.parameters.get(str(has_bias)) == "1" else np.zeros(0, np.float32)
        scales = (127 / np.maximum(np.abs(weights).max(axis=1), 1e-6)).astype(np.float32)
        packed = np.rint(weights * scales[:, None]).astype(np.int8).tobytes()
        out += [INT8_TAG, packed, bytes(-len(packed) % 4), bias, scales, scale(layer)]
        # Both ends are convolutions: the values between them stay int8.
        following = readers.get(layer.outputs[0])
        if layer.kind != "InnerProduct" and following and following.kind in ("Convolution", "ConvolutionDepthWise"):
            term += 100
            out.append(scale(following))
        layer.parameters["8"] = str(term)
    if position != len(content):
        raise ValueError("layers with weights that are not known here")
    param.with_suffix(".bin").write_bytes(b"".join(bytes(part) for part in out))
    param.with_suffix(".json").write_text(float_param.with_suffix(".json").read_text())
    param.write_text("\n".join([*lines[:2], *map(str, layers)]) + "\n")
