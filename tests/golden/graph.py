"""A small ONNX graph writer: one `Graph` is one golden case, with its inputs and what is known of its outputs."""

import zlib

import numpy as np
from onnx import helper, numpy_helper

U8, S8 = np.uint8, np.int8
IR_VERSION = 8
SHORT = {"QuantizeLinear": "q", "DequantizeLinear": "dq"}


def limits(dtype):
    """Smallest and largest value of an integer type."""
    info = np.iinfo(dtype)
    return info.min, info.max


def quantize(x, scale, zero_point, dtype):
    """QuantizeLinear: round half to even of the f32 quotient, then shift and saturate."""
    low, high = limits(dtype)
    quotient = np.rint(np.asarray(x, np.float32) / np.float32(scale))
    return np.clip(quotient + np.float32(zero_point), low, high).astype(dtype)


class Graph:
    """One case. `tolerance` is "exact", "integer" (exact if onnxruntime fuses it), "one-step" or "float"."""

    def __init__(self, family, name, tolerance, opset=17, **extra):
        self.family, self.name, self.model_name = family, name, name
        self.tolerance, self.opset, self.extra = tolerance, opset, extra
        self.rng = np.random.default_rng(zlib.crc32(f"{family}/{name}".encode()))
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.feeds, self.quantized, self.contract, self.symbolic, self.microsoft = {}, {}, None, False, False

    # --- values ---

    def real(self, shape, low=-3.0, high=3.0):
        """Random float32 values with few mantissa bits: they compress well."""
        return self.rng.uniform(low, high, shape).astype(np.float16).astype(np.float32)

    def ints(self, shape, dtype, low=None, high=None):
        """Random integers over the type's whole range, or low..=high."""
        floor, ceiling = limits(dtype)
        return self.rng.integers(floor if low is None else low, ceiling if high is None else high, shape, dtype, True)

    def scale(self, low=0.02, high=0.06, shape=()):
        """A random scale without any neat ratio to another one."""
        return self.rng.uniform(low, high, shape).astype(np.float32)

    # --- writing ---

    def fresh(self, stem):
        return f"{stem}_{len(self.nodes) + len(self.initializers)}"

    def input(self, name, array, shape=None):
        """A graph input and its data; `shape` may carry symbolic dimensions."""
        array = np.asarray(array)
        if shape is not None:
            self.symbolic = True
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, array.shape if shape is None else shape))
        self.feeds[name] = array
        return name

    def const(self, array, dtype=None, name=None, node=False):
        """A constant: an initializer, or a Constant node."""
        array = np.asarray(array, dtype)
        name = name or self.fresh("c")
        tensor = numpy_helper.from_array(np.array(array, order="C"), name)
        if node:
            self.nodes.append(helper.make_node("Constant", [], [name], name=f"make_{name}", value=tensor))
        else:
            self.initializers.append(tensor)
        return name

    def op(self, kind, *inputs, out=None, count=1, domain="", **attributes):
        """One node; constants may be given as numpy arrays. Returns its output name (or names)."""
        names = [i if isinstance(i, str) else self.const(i) for i in inputs]
        stem = self.fresh(SHORT.get(kind, kind.lower()))
        outputs = [out] if out else [stem] if count == 1 else [f"{stem}_{i}" for i in range(count)]
        self.microsoft |= domain == "com.microsoft"
        attributes = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(helper.make_node(kind, names, outputs, name=stem, domain=domain, **attributes))
        return outputs[0] if count == 1 else outputs

    def q(self, x, scale, zero_point, dtype=U8, axis=None):
        return self.op("QuantizeLinear", x, np.float32(scale), np.asarray(zero_point, dtype), axis=axis)

    def dq(self, x, scale, zero_point, dtype=U8, axis=None, out=None):
        return self.op("DequantizeLinear", x, np.float32(scale), np.asarray(zero_point, dtype), axis=axis, out=out)

    def qdq(self, x, scale, zero_point, dtype=U8):
        return self.dq(self.q(x, scale, zero_point, dtype), scale, zero_point, dtype)

    def qdq_input(self, name, shape, scale, zero_point, dtype=U8):
        """float input → Q → DQ; its data cover the range and go a little beyond it."""
        low, high = limits(dtype)
        margin = 2
        data = self.real(shape, (low - zero_point - margin) * scale, (high - zero_point + margin) * scale)
        self.input(name, data)
        self.quantized[name] = quantize(data, scale, zero_point, dtype)
        return self.qdq(name, scale, zero_point, dtype)

    def qdq_output(self, x, scale, zero_point, dtype=U8, name="y"):
        """Q → DQ → float output that lies on the grid scale × (q − zero_point)."""
        self.dq(self.q(x, scale, zero_point, dtype), scale, zero_point, dtype, out=name)
        self.output(name, np.float32, scale, zero_point, dtype)

    def dq_weight(self, ints, scale, zero_point, axis=None, form="initializer"):
        """Quantized weights → DQ. Forms: initializer, constant (node), float (float weights → Q → DQ)."""
        dtype = ints.dtype
        zero_point = np.broadcast_to(np.asarray(zero_point, dtype), np.shape(scale))
        if form == "float":
            shape = [1] * ints.ndim
            if np.ndim(scale):
                shape[axis] = -1
            real = (ints.astype(np.float32) - zero_point.reshape(shape)) * np.reshape(scale, shape)
            w = self.q(self.const(real, np.float32), scale, zero_point, dtype, axis)
        else:
            w = self.const(ints, node=form == "constant")
        return self.dq(w, scale, zero_point, dtype, axis)

    def dq_bias(self, ints, scale):
        """int32 bias → DQ with the product of the scales."""
        scale = np.asarray(scale, np.float32)
        return self.op("DequantizeLinear", self.const(ints, np.int32), scale, np.zeros(scale.shape, np.int32),
                       axis=0 if scale.ndim else None)

    def output(self, name="y", dtype=np.float32, scale=None, zero_point=None, quantized=None):
        """Declares a graph output; scale, zero point and type of its grid where it has one."""
        entry = {"name": name, "type": np.dtype(dtype).name}
        if scale is not None:
            entry |= {"scale": float(np.float32(scale)), "zero_point": int(zero_point)}
            entry["quantized_type"] = np.dtype(quantized or dtype).name
        self.outputs.append(entry)

    def model(self, results=None):
        """The ONNX model; output shapes are written once `results` (name → array) are known."""
        infos = []
        for entry in self.outputs:
            shape = None
            if results is not None:
                shape = list(results[entry["name"]].shape)
                shape[:1] = ["N"] if self.symbolic else shape[:1]
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(entry["type"]))
            infos.append(helper.make_tensor_value_info(entry["name"], kind, shape))
        opsets = [helper.make_opsetid("", self.opset)]
        if self.microsoft:
            opsets.append(helper.make_opsetid("com.microsoft", 1))
        graph = helper.make_graph(self.nodes, self.name, self.inputs, infos, self.initializers)
        return helper.make_model(graph, opset_imports=opsets, ir_version=max(IR_VERSION, 9 if self.opset > 19 else 0),
                                 producer_name="golden")
