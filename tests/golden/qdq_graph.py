"""Family qdq_other, second half: small graphs of several layers, as exporters and quantizers write them."""

from dataclasses import dataclass

import numpy as np

from graph import S8, U8, Graph
from qdq_other import FAMILY, f32, ints


@dataclass
class Value:
    """A dequantized tensor: its name, its channels and its root mean square (weights are scaled to keep it near 1)."""

    name: str
    channels: int
    rms: float = 1.0


class Net(Graph):
    """A graph whose layers come with Q/DQ pairs."""

    def __init__(self, name, tolerance="one-step", dtype=U8, per_channel=True, fraction=0.02, **extra):
        super().__init__(FAMILY, name, tolerance, fraction=fraction, **extra)
        self.dtype, self.shift, self.per_channel = dtype, 128 if dtype == S8 else 0, per_channel

    def start(self, shape, name="x", channels_axis=1):
        return Value(self.qdq_input(name, shape, f32(0.0171), 127 - self.shift, self.dtype), shape[channels_axis], 1.3)

    def close(self, name, channels, rms, scale, zero_point):
        return Value(self.qdq(name, f32(scale), zero_point - self.shift, self.dtype), channels, rms)

    def activate(self, name, channels, activation):
        """Activation and Q/DQ of a tensor whose values spread around 1."""
        if activation == "relu":
            return self.close(self.op("Relu", name), channels, 0.7, 2.7 / 255, 0)
        if activation == "relu6":
            return self.close(self.op("Clip", name, f32(0), f32(6)), channels, 0.7, 2.7 / 255, 0)
        if activation == "hard_swish":
            linear = self.close(name, channels, 1, 5.3 / 255, 128)
            return self.close(self.op("HardSwish", linear.name), channels, 0.6, 3.1 / 255, 30)
        if activation == "hard_sigmoid":
            linear = self.close(name, channels, 1, 5.3 / 255, 128)
            return self.close(self.op("HardSigmoid", linear.name), channels, 0.55, 1 / 255, 0)
        return self.close(name, channels, 1, 5.3 / 255, 128)

    def weights(self, shape, rms, axis):
        terms = int(np.prod(shape)) // shape[axis]
        scale = 1 / (np.sqrt(terms) * rms * 74)
        channels = (shape[axis],) if self.per_channel else ()
        return self.ints(shape, S8, -127), self.scale(0.8 * scale, 1.2 * scale, channels)

    def conv(self, x, out, kernel, activation="relu", group=1, **attributes):
        w, scale = self.weights([out, x.channels // group, *kernel], x.rms, 0)
        bias = self.ints([out], np.int32, -2000, 2000)
        source = [n for n in self.nodes if n.output[0] == x.name][0]
        x_scale = [t for t in self.initializers if t.name == source.input[1]][0]
        x_scale = np.frombuffer(x_scale.raw_data, np.float32)[0]
        y = self.op("Conv", x.name, self.dq_weight(w, scale, 0, 0 if self.per_channel else None),
                    self.dq_bias(bias, x_scale * scale), kernel_shape=kernel, group=group, **attributes)
        return self.activate(y, out, activation)

    def depthwise(self, x, activation="relu", **attributes):
        return self.conv(x, x.channels, [3, 3], activation, x.channels, pads=[1, 1, 1, 1], **attributes)

    def gemm(self, name, depth, out, rms, trans_b=1):
        w, scale = self.weights([out, depth] if trans_b else [depth, out], rms, 0 if trans_b else 1)
        axis = (0 if trans_b else 1) if self.per_channel else None
        y = self.op("Gemm", name, self.dq_weight(w, scale, 0, axis), transB=trans_b)
        return self.activate(y, out, None)

    def add(self, a, b, activation=None):
        y = self.op("Add", a.name, b.name)
        if activation:
            return self.close(self.op("Relu", y), a.channels, 0.9, 3.9 / 255, 0)
        return self.close(y, a.channels, 1.3, 7.1 / 255, 121)

    def pool(self, x):
        return self.close(self.op("GlobalAveragePool", x.name), x.channels, 0.5 * x.rms, x.rms / 180, 60)

    def same(self, x, kind, *constants, channels=None, **attributes):
        """A moving operator with the same Q/DQ pair before and after."""
        source = [n for n in self.nodes if n.output[0] == x.name][0]
        y = self.op(kind, x.name, *constants, **attributes)
        y = self.op("QuantizeLinear", y, *source.input[1:3])
        return Value(self.op("DequantizeLinear", y, *source.input[1:3]), channels or x.channels, x.rms)

    def finish(self, value, name="y"):
        """Makes a Q/DQ result a graph output, with its scale and zero point."""
        node = [n for n in self.nodes if n.output[0] == value.name][0]
        scale, point = ([t for t in self.initializers if t.name == i][0] for i in node.input[1:3])
        scale, point = np.frombuffer(scale.raw_data, np.float32)[0], np.frombuffer(point.raw_data, self.dtype)[0]
        self.op("Identity", value.name, out=name)
        self.output(name, np.float32, scale, point, self.dtype)
        return self


def residual(name, **options):
    g = Net(name, **options)
    x = g.conv(g.start([1, 3, 9, 8]), 8, [3, 3], pads=[1] * 4)
    y = g.conv(x, 8, [3, 3], pads=[1] * 4)
    y = g.conv(y, 8, [3, 3], None, pads=[1] * 4)
    return g.finish(g.add(x, y, "relu"))


def residual_projection():
    g = Net("residual_projection")
    x = g.conv(g.start([1, 3, 9, 8]), 6, [3, 3], pads=[1] * 4)
    y = g.conv(g.conv(x, 8, [3, 3], pads=[1] * 4, strides=[2, 2]), 8, [3, 3], None, pads=[1] * 4)
    return g.finish(g.add(y, g.conv(x, 8, [1, 1], None, strides=[2, 2])))


def inverted_residual(name, activation="relu6", **options):
    g = Net(name, **options)
    x = g.conv(g.start([1, 3, 8, 7]), 6, [3, 3], None, pads=[1] * 4)
    y = g.depthwise(g.conv(x, 12, [1, 1], activation), activation)
    return g.finish(g.add(x, g.conv(y, 6, [1, 1], None)))


def squeeze_excite():
    """MobileNetV3's block: HardSwish, GlobalAveragePool → 1×1 → HardSigmoid → Mul with a [1, C, 1, 1] tensor."""
    g = Net("squeeze_excite", fraction=0.02)
    x = g.conv(g.start([1, 3, 8, 7]), 8, [3, 3], "hard_swish", pads=[1] * 4)
    y = g.depthwise(x, "hard_swish")
    gate = g.conv(g.conv(g.pool(y), 4, [1, 1]), 8, [1, 1], "hard_sigmoid")
    y = g.close(g.op("Mul", y.name, gate.name), 8, 0.35, 1.9 / 255, 33)
    return g.finish(g.add(x, g.conv(y, 8, [1, 1], None)))


def channel_shuffle(**options):
    """Grouped 1×1, Reshape-Transpose-Reshape, depthwise: ShuffleNet's unit."""
    g = Net("channel_shuffle", tolerance="integer", **options)
    x = g.conv(g.start([1, 4, 6, 5]), 8, [1, 1], group=2)
    x = g.same(x, "Reshape", ints(1, 2, 4, 6, 5))
    x = g.same(x, "Transpose", perm=[0, 2, 1, 3, 4])
    x = g.same(x, "Reshape", ints(1, 8, 6, 5))
    return g.finish(g.conv(g.depthwise(x, None), 6, [1, 1]))


def shuffle_without_pairs():
    """The same shuffle without Q/DQ between the moving operators."""
    g = Net("channel_shuffle_bare", tolerance="integer")
    x = g.conv(g.start([1, 4, 6, 5]), 8, [1, 1], group=2)
    y = g.op("Transpose", g.op("Reshape", x.name, ints(1, 2, 4, 6, 5)), perm=[0, 2, 1, 3, 4])
    y = g.close(g.op("Reshape", y, ints(1, 8, 6, 5)), 8, x.rms, 2.7 / 255, 0)
    return g.finish(g.conv(y, 6, [1, 1]))


def flatten_gemm(name, trans_b=1, kind="Flatten"):
    """NCHW flattened into Gemm: the weights' order follows NCHW."""
    g = Net(name, tolerance="integer")
    x = g.conv(g.start([1, 2, 7, 6]), 5, [3, 3])
    flat = g.same(x, "Flatten") if kind == "Flatten" else g.same(x, "Reshape", ints(*kind))
    return g.finish(g.gemm(flat.name, 5 * 5 * 4, 11, x.rms, trans_b))


def pooled_gemm(name, how):
    """Convolution, pooling, rank change, Gemm."""
    g = Net(name)
    x = g.conv(g.start([1, 3, 8, 7]), 12, [3, 3], pads=[1] * 4)
    if how == "reduce_mean":
        flat = g.close(g.op("ReduceMean", x.name, axes=[2, 3], keepdims=0), 12, 0.35, 0.7 / 180, 60)
    else:
        p = g.pool(x)
        flat = {"flatten": lambda: g.same(p, "Flatten"), "squeeze": lambda: g.same(p, "Squeeze", ints(2, 3)),
                "reshape": lambda: g.same(p, "Reshape", ints(-1, 12))}[how]()
    return g.finish(g.gemm(flat.name, 12, 7, flat.rms))


def gemm_to_conv():
    """Gemm, Unsqueeze to an image, Conv."""
    g = Net("gemm_unsqueeze_conv", tolerance="integer")
    x = g.start([1, 13])
    y = g.gemm(x.name, 13, 10, x.rms)
    y = g.same(y, "Unsqueeze", ints(2, 3))
    return g.finish(g.conv(y, 6, [1, 1]))


def nhwc():
    """As tf2onnx writes it: NHWC input, a Transpose, NCHW layers, a Transpose back before Reshape and Gemm."""
    g = Net("nhwc_transposes", tolerance="integer")
    x = g.start([1, 8, 9, 3], "image", 3)
    x = g.same(x, "Transpose", perm=[0, 3, 1, 2])
    x = g.conv(x, 8, [3, 3], strides=[2, 2], pads=[0, 1, 1, 1])
    x = g.depthwise(x, "relu6")
    x = g.conv(x, 6, [1, 1])
    x = g.same(x, "MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    x = g.same(x, "Transpose", perm=[0, 2, 3, 1])
    x = g.same(x, "Reshape", ints(-1, 24))
    return g.finish(g.gemm(x.name, 24, 10, x.rms, 0), "scores")


def dense_concat():
    """SqueezeNet's fire module: a squeeze, two branches, a Concat, a pool."""
    g = Net("fire_concat")
    x = g.conv(g.start([1, 3, 8, 8]), 4, [1, 1])
    a, b = g.conv(x, 5, [1, 1]), g.conv(x, 7, [3, 3], pads=[1] * 4)
    y = g.close(g.op("Concat", a.name, b.name, axis=1), 12, 0.7, 2.9 / 255, 0)
    y = g.same(y, "MaxPool", kernel_shape=[3, 3], strides=[2, 2])
    return g.finish(g.conv(y, 6, [1, 1]))


def concat_of_one_scale():
    """An inception module whose branches have one scale: two convolutions and a pool, which others read too or not."""
    g = Net("concat_of_one_scale")
    x = g.conv(g.start([1, 3, 7, 9]), 8, [1, 1])
    a, b = g.conv(x, 5, [1, 1]), g.conv(x, 19, [3, 3], pads=[1] * 4)
    c = g.same(x, "MaxPool", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
    y = g.same(a, "Concat", b.name, c.name, axis=1, channels=32)
    d = g.conv(y, 17, [3, 3], pads=[1] * 4)
    z = g.same(y, "Concat", d.name, axis=1, channels=49)
    return g.finish(g.same(z, "Concat", g.conv(d, 4, [1, 1]).name, axis=1, channels=53))


def split_branches():
    """ShuffleNetV2's unit: Split, one branch computed, Concat of both."""
    g = Net("split_branch_concat")
    x = g.conv(g.start([1, 4, 6, 6]), 8, [3, 3], pads=[1] * 4)
    left, right = g.op("Split", x.name, ints(4, 4), axis=1, count=2)
    left, right = (g.close(v, 4, x.rms, 2.7 / 255, 0) for v in (left, right))
    right = g.conv(g.depthwise(g.conv(right, 4, [1, 1]), None), 4, [1, 1])
    return g.finish(g.close(g.op("Concat", left.name, right.name, axis=1), 8, 0.7, 2.7 / 255, 0))


def upsample():
    """A feature pyramid's step: Resize nearest, Concat with the finer map, Conv."""
    g = Net("upsample_concat")
    fine = g.conv(g.start([1, 3, 8, 6]), 4, [3, 3], pads=[1] * 4)
    coarse = g.conv(fine, 6, [3, 3], pads=[1] * 4, strides=[2, 2])
    coarse = g.same(coarse, "Resize", "", np.array([1, 1, 2, 2], np.float32), mode="nearest",
                    coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    y = g.close(g.op("Concat", coarse.name, fine.name, axis=1), 10, 0.7, 2.7 / 255, 0)
    return g.finish(g.conv(y, 5, [1, 1], None))


def two_outputs():
    g = Net("two_outputs", tolerance="integer")
    x = g.conv(g.start([1, 3, 7, 8]), 6, [3, 3], pads=[1] * 4)
    g.finish(g.conv(x, 4, [1, 1], None), "boxes")
    return g.finish(g.conv(g.conv(x, 5, [3, 3]), 3, [1, 1], None), "scores")


def two_inputs():
    g = Net("two_inputs")
    a, b = g.start([1, 3, 6, 7], "left"), g.start([1, 3, 6, 7], "right")
    return g.finish(g.add(g.conv(a, 5, [1, 1], None), g.conv(b, 5, [3, 3], None, pads=[1] * 4)))


def conv1d_keywords():
    """Rank 3: convolutions along time, mean over time, Gemm."""
    g = Net("conv1d_keywords")
    x = g.conv(g.start([1, 10, 21]), 12, [3], pads=[1, 1], strides=[2])
    x = g.conv(g.conv(x, 12, [5], "relu", 12, pads=[2, 2]), 9, [1])
    flat = g.close(g.op("ReduceMean", x.name, axes=[-1], keepdims=0), 9, 0.4, 0.7 / 180, 60)
    return g.finish(g.gemm(flat.name, 9, 12, 0.4))


def softmax_head():
    """Gemm, then Softmax kept in float: the output has no grid."""
    g = Net("float_softmax_head", tolerance="float", atol=0.006, rtol=0.02)
    x = g.conv(g.start([1, 3, 6, 6]), 8, [3, 3])
    y = g.gemm(g.same(x, "Flatten").name, 128, 10, x.rms)
    g.op("Softmax", y.name, axis=-1, out="probabilities")
    g.output("probabilities")
    return g


def partly_float():
    """A convolution kept in float between two quantized ones."""
    g = Net("float_layer_between", optimize=False)
    x = g.conv(g.start([1, 3, 7, 6]), 6, [3, 3], pads=[1] * 4)
    w = g.real([6, 6, 3, 3], -0.25, 0.25)
    y = g.op("Relu", g.op("Conv", x.name, w, g.real([6], -0.2, 0.2), pads=[1] * 4, kernel_shape=[3, 3]))
    y = g.close(y, 6, 0.7, 2.9 / 255, 0)
    return g.finish(g.conv(y, 5, [1, 1]))


def cases():
    yield residual("residual")
    yield residual("residual_per_tensor", per_channel=False)
    yield residual("residual_int8", dtype=S8)
    yield residual_projection()
    yield inverted_residual("inverted_residual")
    yield inverted_residual("inverted_residual_int8", dtype=S8)
    yield inverted_residual("inverted_residual_hard_swish", "hard_swish")
    yield squeeze_excite()
    yield channel_shuffle()
    yield shuffle_without_pairs()
    yield flatten_gemm("conv_flatten_gemm")
    yield flatten_gemm("conv_flatten_gemm_no_trans", 0)
    yield flatten_gemm("conv_reshape_gemm", kind=(1, 100))
    for how in ("flatten", "squeeze", "reshape", "reduce_mean"):
        yield pooled_gemm(f"conv_pool_{how}_gemm", how)
    yield gemm_to_conv()
    yield nhwc()
    yield dense_concat()
    yield concat_of_one_scale()
    yield split_branches()
    yield upsample()
    yield two_outputs()
    yield two_inputs()
    yield conv1d_keywords()
    yield softmax_head()
    yield partly_float()
