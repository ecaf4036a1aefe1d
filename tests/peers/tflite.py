"""`tflite.py MODEL.int8.onnx OUT.tflite [--float]`: what `quantize` writes, as a LiteRT model.

Reads the shape that `quantize` gives a graph: every operator between DequantizeLinear and QuantizeLinear. Activations
become NHWC, and uint8 ones int8 by a shift of 128. Input and output stay float, as in the ONNX file. `--float` writes
the same network without the quantization. What has no counterpart is an error that names the node.
"""
import argparse

import flatbuffers
import numpy as np
import onnx
import onnxruntime
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from onnx import numpy_helper

FLOAT, INT8, INT32 = schema.TensorType.FLOAT32, schema.TensorType.INT8, schema.TensorType.INT32
VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "RESHAPE": 1, "QUANTIZE": 2}
LAYOUT_OF_EXPORTERS = [0, 3, 1, 2]


class Unsupported(Exception):
    pass


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def nhwc(shape):
    return [shape[0], shape[2], shape[3], shape[1]] if len(shape) == 4 else list(shape)


def same_padding(size, kernel, stride):
    """What TensorFlow's SAME adds before and after one axis."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Converter:
    def __init__(self, path, as_float):
        model = onnx.shape_inference.infer_shapes(onnx.load(path))
        self.graph, self.as_float = model.graph, as_float
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        values = [*self.graph.value_info, *self.graph.input, *self.graph.output]
        self.shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
        self.quantizers = {n.input[0]: n for n in self.graph.node if n.op_type == "QuantizeLinear"}
        self.dequantizers = {n.output[0]: n for n in self.graph.node if n.op_type == "DequantizeLinear"}
        self.buffers, self.tensors, self.operators, self.codes = [schema.BufferT()], [], [], []
        self.indices = {}  # quantized ONNX tensor, or float one at the border: index of ours
        self.quantizations = {}  # index of ours: scale, int8 zero point

    # Building blocks

    def tensor(self, name, shape, kind, data=None, scale=None, zero=None, axis=0):
        made = schema.TensorT()
        made.name, made.shape, made.type = name, [int(d) for d in shape], kind
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            made.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.atleast_1d(scale).astype(np.float32)
            made.quantization.zeroPoint = np.broadcast_to(zero, made.quantization.scale.shape).astype(np.int64)
            made.quantization.quantizedDimension = axis
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(self, kind, inputs, output, options=None, options_type="NONE"):
        if kind not in self.codes:
            self.codes.append(kind)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = self.codes.index(kind), inputs, [output]
        made.builtinOptionsType, made.builtinOptions = getattr(schema.BuiltinOptions, options_type), options
        self.operators.append(made)

    def activation(self, name, shape, scale, zero):
        if self.as_float:
            return self.tensor(name, shape, FLOAT)
        index = self.tensor(name, shape, INT8, scale=scale, zero=zero)
        self.quantizations[index] = (scale, zero)
        return index

    def result(self, node, shape=None, quantization=None):
        """Our tensor for what the node makes, with the quantization of the QuantizeLinear behind it."""
        quantizer = self.quantizers.get(node.output[0])
        if quantizer is None:
            raise Unsupported(f"{node.name} ({node.op_type}): its result is not quantized")
        scale, zero = quantization or self.scale_and_zero(quantizer)
        index = self.activation(node.output[0], shape or nhwc(self.shapes[node.output[0]]), scale, zero)
        self.indices[quantizer.output[0]] = index
        return index

    def scale_and_zero(self, node):
        zero = self.constants[node.input[2]]
        return float(self.constants[node.input[1]]), int(zero) - (128 if zero.dtype == np.uint8 else 0)

    def source(self, name):
        """Our tensor for a node's input."""
        return self.indices[self.dequantizers[name].input[0]]

    def weights(self, name, order, axis):
        node = self.dequantizers[name]
        values, scale = self.constants[node.input[0]], self.constants[node.input[1]]
        if self.as_float:
            along = [1] * values.ndim
            along[attributes(node).get("axis", 1) if scale.ndim else 0] = -1
            values = (values * scale.reshape(along)).astype(np.float32).transpose(order)
            return self.tensor(name, values.shape, FLOAT, values)
        values = values.transpose(order)
        return self.tensor(name, values.shape, INT8, values, scale, 0, axis)

    def bias(self, name):
        node = self.dequantizers[name]
        values, scale = self.constants[node.input[0]], self.constants[node.input[1]]
        if self.as_float:
            return self.tensor(name, values.shape, FLOAT, (values * scale).astype(np.float32))
        return self.tensor(name, values.shape, INT32, values, scale, 0)

    def clamp(self, node):
        """The activation that the range of an unsigned result stands for. Integers need none: they saturate."""
        if not self.as_float:
            return schema.ActivationFunctionType.NONE
        scale, zero = self.scale_and_zero(self.quantizers[node.output[0]])
        if zero != -128:
            return schema.ActivationFunctionType.NONE
        relu6 = abs(scale * 255 - 6) < 1e-3
        return schema.ActivationFunctionType.RELU6 if relu6 else schema.ActivationFunctionType.RELU

    def padded(self, node, source, sizes, kernel, strides):
        """Where TensorFlow has no name for the padding, a PAD goes first."""
        pads = attributes(node).get("pads", [0, 0, 0, 0])
        pairs = [(pads[0], pads[2]), (pads[1], pads[3])]
        if not any(pads):
            return source, schema.Padding.VALID
        if pairs == [same_padding(*axis) for axis in zip(sizes, kernel, strides)]:
            return source, schema.Padding.SAME
        amounts = np.array([(0, 0), *pairs, (0, 0)], np.int32)
        shape = np.array(self.tensors[source].shape) + amounts.sum(axis=1)
        scale_and_zero = self.quantizations.get(source, (None, None))
        output = self.activation(node.name + "/pad", shape, *scale_and_zero)
        amounts = self.tensor(node.name + "/pads", amounts.shape, INT32, amounts)
        self.operator("PAD", [source, amounts], output, schema.PadOptionsT(), "PadOptions")
        return output, schema.Padding.VALID

    # Operators

    def conv(self, node):
        a, weights = attributes(node), self.constants[self.dequantizers[node.input[1]].input[0]]
        kernel, strides, group = list(weights.shape[2:]), a.get("strides", [1, 1]), a.get("group", 1)
        sizes = self.shapes[node.input[0]][2:]
        source, padding = self.padded(node, self.source(node.input[0]), sizes, kernel, strides)
        depthwise = group > 1
        if depthwise and (weights.shape[1] != 1 or weights.shape[0] != group):
            raise Unsupported(f"{node.name}: groups of several channels")
        if depthwise:
            kind, options = "DEPTHWISE_CONV_2D", schema.DepthwiseConv2DOptionsT()
            options.depthMultiplier = 1
            filters = self.weights(node.input[1], [1, 2, 3, 0], 3)
        else:
            kind, options = "CONV_2D", schema.Conv2DOptionsT()
            filters = self.weights(node.input[1], [0, 2, 3, 1], 0)
        options.padding, (options.strideH, options.strideW) = padding, strides
        options.dilationHFactor, options.dilationWFactor = a.get("dilations", [1, 1])
        options.fusedActivationFunction = self.clamp(node)
        inputs = [source, filters, self.bias(node.input[2])]
        self.operator(kind, inputs, self.result(node), options, type(options).__name__[:-1])

    def gemm(self, node):
        order = [0, 1] if attributes(node).get("transB") else [1, 0]
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = self.clamp(node)
        inputs = [self.source(node.input[0]), self.weights(node.input[1], order, 0), self.bias(node.input[2])]
        self.operator("FULLY_CONNECTED", inputs, self.result(node), options, "FullyConnectedOptions")

    def add(self, node):
        options = schema.AddOptionsT()
        options.fusedActivationFunction = self.clamp(node)
        self.operator("ADD", [self.source(i) for i in node.input], self.result(node), options, "AddOptions")

    def mean(self, node):
        if self.shapes[node.output[0]][2:] != [1, 1]:
            raise Unsupported(f"{node.name}: an average over a part of the image")
        axes = self.tensor(node.name + "/axes", [2], INT32, np.array([1, 2], np.int32))
        options = schema.ReducerOptionsT()
        options.keepDims = True
        self.operator("MEAN", [self.source(node.input[0]), axes], self.result(node), options, "ReducerOptions")

    def max_pool(self, node):
        a, sizes = attributes(node), self.shapes[node.input[0]][2:]
        kernel, strides = a["kernel_shape"], a.get("strides", [1, 1])
        options = schema.Pool2DOptionsT()
        whole = all((size - k) % s == 0 for size, k, s in zip(sizes, kernel, strides))
        # Rounding up leaves out only what lies beyond the end, as SAME does when it adds nothing before.
        ends = a.get("ceil_mode") and all(same_padding(*axis)[0] == 0 for axis in zip(sizes, kernel, strides))
        if any(a.get("pads", [0])) or not (whole or ends):
            raise Unsupported(f"{node.name}: padding in a maximum")
        options.padding = schema.Padding.VALID if whole else schema.Padding.SAME
        options.filterHeight, options.filterWidth = kernel
        options.strideH, options.strideW = strides
        self.operator("MAX_POOL_2D", [self.source(node.input[0])], self.result(node), options, "Pool2DOptions")

    def concat(self, node):
        options = schema.ConcatenationOptionsT()
        options.axis = {4: 3, 2: 1}[len(self.shapes[node.output[0]])]
        if attributes(node)["axis"] != 1:
            raise Unsupported(f"{node.name}: another axis than the channels")
        sources = [self.source(i) for i in node.input]
        output = self.result(node)
        if any(self.quantizations.get(s) != self.quantizations.get(output) for s in sources):
            raise Unsupported(f"{node.name}: inputs of several scales")
        self.operator("CONCATENATION", sources, output, options, "ConcatenationOptions")

    def softmax(self, node):
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        # LiteRT computes it for this quantization only.
        output = self.result(node, quantization=(1 / 256, -128))
        self.operator("SOFTMAX", [self.source(node.input[0])], output, options, "SoftmaxOptions")

    def reshape(self, node):
        given, made = self.shapes[node.input[0]], self.shapes[node.output[0]]
        source = self.source(node.input[0])
        # The order of elements is the same in both layouts when only one axis besides the batch is not 1.
        if self.tensors[source].shape == nhwc(given) and len(given) == 4 and given[2:] != [1, 1]:
            raise Unsupported(f"{node.name}: reshapes an image")
        if len(made) == 4 and made[1] != 1:
            raise Unsupported(f"{node.name}: reshapes to an image of several channels")
        if nhwc(made) == self.tensors[source].shape:
            self.indices[self.quantizers[node.output[0]].output[0]] = source
            return
        options = schema.ReshapeOptionsT()
        options.newShape = nhwc(made)
        shape = self.tensor(node.name + "/shape", [len(made)], INT32, np.array(nhwc(made), np.int32))
        self.operator("RESHAPE", [source, shape], self.result(node), options, "ReshapeOptions")

    def transpose(self, node):
        source = self.source(node.input[0])
        if list(attributes(node)["perm"]) != LAYOUT_OF_EXPORTERS or self.tensors[source].shape != self.shapes[node.input[0]]:
            raise Unsupported(f"{node.name}: transposes")
        self.indices[self.quantizers[node.output[0]].output[0]] = source

    HANDLERS = {"Conv": conv, "Gemm": gemm, "Add": add, "GlobalAveragePool": mean, "AveragePool": mean,
                "MaxPool": max_pool, "Concat": concat, "Softmax": softmax, "Reshape": reshape, "Flatten": reshape,
                "Transpose": transpose}

    def input(self):
        """The float input: NHWC, which it may be already."""
        name = self.graph.input[0].name
        quantizer = self.quantizers[name]
        dequantized = next(n.output[0] for n in self.graph.node if n.input[0] == quantizer.output[0])
        reader = next(n for n in self.graph.node if dequantized in n.input)
        shape = self.shapes[name] if reader.op_type in ("Transpose", "Reshape") else nhwc(self.shapes[name])
        index = self.tensor(name, shape, FLOAT)
        self.indices[quantizer.output[0]] = index
        if not self.as_float:
            quantized = self.activation(name + "/int8", shape, *self.scale_and_zero(quantizer))
            self.operator("QUANTIZE", [index], quantized, schema.QuantizeOptionsT(), "QuantizeOptions")
            self.indices[quantizer.output[0]] = quantized
        return index

    def output(self):
        name = self.graph.output[0].name
        source = self.source(name)
        if self.as_float:
            return source
        index = self.tensor(name, self.tensors[source].shape, FLOAT)
        self.operator("DEQUANTIZE", [source], index, schema.DequantizeOptionsT(), "DequantizeOptions")
        return index

    def convert(self):
        subgraph = schema.SubGraphT()
        subgraph.inputs = [self.input()]
        for node in self.graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                continue
            if node.op_type not in self.HANDLERS:
                raise Unsupported(f"{node.name}: {node.op_type}")
            self.HANDLERS[node.op_type](self, node)
        subgraph.outputs = [self.output()]
        subgraph.tensors, subgraph.operators, subgraph.name = self.tensors, self.operators, "main"
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [subgraph], self.buffers, []
        for kind in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, kind)
            code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), VERSIONS.get(kind, 2)
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def convert(path, as_float=False):
    return Converter(path, as_float).convert()


def difference(path, content, sample):
    """How far LiteRT's answer is from that of onnxruntime for the ONNX file, as a share of the largest value."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: sample})[0].ravel()
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    moved = sample if sample.shape == tuple(given["shape"]) else sample.transpose(0, 2, 3, 1)
    interpreter.set_tensor(given["index"], np.ascontiguousarray(moved))
    interpreter.invoke()
    return np.abs(interpreter.get_tensor(made["index"]).ravel() - expected).max() / np.abs(expected).max()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model")
    arguments.add_argument("output")
    arguments.add_argument("--float", action="store_true")
    given = arguments.parse_args()
    content = convert(given.model, given.float)
    with open(given.output, "wb") as file:
        file.write(content)
