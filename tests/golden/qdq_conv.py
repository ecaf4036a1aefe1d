"""Family qdq_conv: Q → DQ → Conv → Q → DQ, the form that onnxruntime fuses to QLinearConv for uint8 activations."""

import numpy as np

from check import accumulate, requantize
from graph import S8, U8, Graph

FAMILY = "qdq_conv"


def same_pads(size, kernel, strides, dilations, lower):
    """The pads that auto_pad SAME_UPPER or SAME_LOWER stands for."""
    begin, end = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        small, large = total // 2, total - total // 2
        begin.append(large if lower else small)
        end.append(small if lower else large)
    return begin + end


def conv(name, shape, out, kernel, *, strides=None, pads=None, dilations=None, group=1, auto_pad=None, bias=True,
         x_zp=118, y_zp=131, w_type=S8, w_zp=0, per_channel=True, activation=None, y_scale=None, spread=5.0,
         opset=17, form="initializer", x_type=U8, float_bias=False, w_limit=127):
    """Builds one convolution case with a scale that keeps most outputs inside the range."""
    g = Graph(FAMILY, name, "integer", opset)
    rank = len(kernel)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    explicit = pads or [0] * (2 * rank)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        explicit = same_pads(shape[2:], kernel, strides, dilations, auto_pad == "SAME_LOWER")
    xs = g.scale()
    x = g.qdq_input("x", shape, xs, x_zp, x_type)
    w = g.ints([out, shape[1] // group, *kernel], w_type, *((-w_limit, w_limit) if w_type == S8 else (0, 255)))
    ws = g.scale(0.004, 0.009, (out,) if per_channel else ())
    wz = np.zeros(ws.shape, w_type) + np.asarray(w_zp, w_type)
    # A spread of a few standard deviations of the accumulator over the 256 steps.
    terms = w[0].size
    w_power = np.mean((w.astype(float) - float(np.mean(wz))) ** 2)
    x_power = np.mean((g.quantized["x"].astype(float) - x_zp) ** 2)
    deviation = np.sqrt(terms * w_power * x_power) * xs * np.mean(ws)
    if y_scale is not None:
        ws, deviation = (ws * (100 * y_scale / deviation)).astype(np.float32), 100 * y_scale
    ys = np.float32(y_scale if y_scale is not None else deviation * spread / 255)
    b = g.ints([out], np.int32, -int(deviation / xs / np.mean(ws)) - 1, int(deviation / xs / np.mean(ws)) + 1)
    inputs = [x, g.dq_weight(w, ws, wz, 0 if per_channel else None, form)]
    if bias and float_bias:
        inputs.append(g.const((b * xs * ws), np.float32))
    elif bias:
        inputs.append(g.dq_bias(b, xs * ws))
    y = g.op("Conv", *inputs, kernel_shape=kernel, strides=strides, dilations=dilations, group=group,
             pads=None if auto_pad else explicit, auto_pad=auto_pad)
    if activation == "relu":
        y = g.op("Relu", y)
    elif activation == "clip6":
        y = g.op("Clip", y, np.float32(0), np.float32(6))
    g.qdq_output(y, ys, y_zp, x_type)

    def contract():
        acc = accumulate(g.quantized["x"], x_zp, w, wz, b if bias else None, strides, explicit, dilations, group)
        ints = requantize(acc, xs, ws, ys, y_zp, x_type, 1)
        if activation:
            high = 255 if activation == "relu" else int(np.rint(np.float32(6) / ys)) + y_zp
            ints = np.clip(ints, y_zp, high)
        return {"y": ((ints.astype(np.float32) - np.float32(y_zp)) * ys).astype(np.float32)}

    g.contract = contract
    return g


def cases():
    c = conv
    yield c("k1x1", [1, 7, 5, 6], 9, [1, 1])
    yield c("k1x1_wide", [1, 67, 3, 3], 33, [1, 1])
    yield c("k1x1_stride2", [1, 8, 7, 5], 8, [1, 1], strides=[2, 2])
    yield c("k1x1_one_pixel", [1, 19, 1, 1], 21, [1, 1])
    yield c("k3x3", [1, 5, 8, 9], 6, [3, 3], pads=[1, 1, 1, 1])
    yield c("k3x3_valid", [1, 4, 7, 6], 5, [3, 3])
    yield c("k3x3_many_channels", [1, 17, 5, 5], 18, [3, 3], pads=[1, 1, 1, 1])
    yield c("k3x3_stride2", [1, 6, 9, 8], 7, [3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    yield c("k3x3_stride3", [1, 4, 11, 10], 5, [3, 3], strides=[3, 3], pads=[1, 1, 1, 1])
    yield c("k3x3_stride_2_1", [1, 3, 9, 6], 4, [3, 3], strides=[2, 1], pads=[1, 1, 1, 1])
    yield c("k3x3_dilation2", [1, 4, 9, 9], 5, [3, 3], dilations=[2, 2], pads=[2, 2, 2, 2])
    yield c("k3x3_dilation_1_3", [1, 3, 7, 10], 4, [3, 3], dilations=[1, 3], pads=[1, 3, 1, 3])
    yield c("k5x5", [1, 3, 9, 8], 6, [5, 5], pads=[2, 2, 2, 2])
    yield c("k3x1", [1, 5, 8, 7], 6, [3, 1], pads=[1, 0, 1, 0])
    yield c("k1x3", [1, 5, 6, 7], 6, [1, 3], pads=[0, 1, 0, 1])
    yield c("k7x7_stride2", [1, 3, 15, 14], 4, [7, 7], strides=[2, 2], pads=[3, 3, 3, 3])
    yield c("k10x4_one_channel", [1, 1, 21, 10], 6, [10, 4], strides=[2, 2], pads=[4, 1, 5, 1])
    yield c("k2x2_even", [1, 4, 6, 6], 5, [2, 2], strides=[2, 2])
    yield c("whole_image_kernel", [1, 6, 4, 5], 7, [4, 5])
    yield c("pads_asymmetric", [1, 3, 8, 8], 5, [3, 3], pads=[0, 1, 2, 0])
    yield c("pads_larger_than_half", [1, 3, 4, 4], 4, [3, 3], pads=[2, 2, 2, 2])
    yield c("same_upper_stride2", [1, 3, 8, 9], 5, [3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    yield c("same_lower_stride2", [1, 3, 8, 9], 5, [3, 3], strides=[2, 2], auto_pad="SAME_LOWER")
    yield c("same_upper_k4", [1, 3, 7, 6], 4, [4, 4], auto_pad="SAME_UPPER")
    yield c("same_lower_k2_stride1", [1, 3, 5, 6], 4, [2, 2], auto_pad="SAME_LOWER")
    yield c("auto_pad_valid", [1, 3, 7, 6], 4, [3, 3], auto_pad="VALID")
    yield c("group2", [1, 6, 7, 7], 8, [3, 3], group=2, pads=[1, 1, 1, 1])
    yield c("group3_k1x1", [1, 9, 5, 5], 6, [1, 1], group=3)
    yield c("group4_stride2", [1, 20, 5, 6], 12, [3, 3], group=4, strides=[2, 2], pads=[1, 1, 1, 1])
    yield c("depthwise", [1, 9, 8, 7], 9, [3, 3], group=9, pads=[1, 1, 1, 1])
    yield c("depthwise_33", [1, 33, 5, 4], 33, [3, 3], group=33, pads=[1, 1, 1, 1])
    yield c("depthwise_multiplier2", [1, 5, 7, 8], 10, [3, 3], group=5, pads=[1, 1, 1, 1])
    yield c("depthwise_stride2", [1, 8, 9, 9], 8, [3, 3], group=8, strides=[2, 2], pads=[0, 0, 1, 1])
    yield c("depthwise_k5x5_stride2", [1, 6, 9, 10], 6, [5, 5], group=6, strides=[2, 2], pads=[2, 2, 2, 2])
    yield c("depthwise_dilation2", [1, 6, 9, 8], 6, [3, 3], group=6, dilations=[2, 2], pads=[2, 2, 2, 2])
    yield c("depthwise_per_tensor", [1, 7, 6, 6], 7, [3, 3], group=7, pads=[1, 1, 1, 1], per_channel=False)
    yield c("depthwise_uint8_weights", [1, 7, 6, 6], 7, [3, 3], group=7, pads=[1, 1, 1, 1], per_channel=False,
            w_type=U8, w_zp=121)
    yield c("depthwise_no_bias_relu", [1, 8, 6, 6], 8, [3, 3], group=8, pads=[1, 1, 1, 1], bias=False, y_zp=0,
            activation="relu")
    yield c("one_channel", [1, 1, 9, 9], 5, [3, 3], pads=[1, 1, 1, 1])
    yield c("three_channels_stride2", [1, 3, 12, 11], 8, [3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    yield c("one_output", [1, 6, 6, 6], 1, [3, 3], pads=[1, 1, 1, 1])
    yield c("no_bias", [1, 5, 6, 7], 6, [3, 3], pads=[1, 1, 1, 1], bias=False)
    yield c("no_bias_per_tensor", [1, 5, 6, 7], 6, [1, 1], bias=False, per_channel=False)
    yield c("per_tensor", [1, 5, 7, 7], 6, [3, 3], pads=[1, 1, 1, 1], per_channel=False)
    yield c("per_tensor_opset13", [1, 4, 6, 6], 5, [3, 3], per_channel=False, opset=13)
    yield c("weight_zero_point", [1, 5, 7, 7], 6, [3, 3], pads=[1, 1, 1, 1], per_channel=False, w_zp=-9)
    yield c("uint8_weights", [1, 5, 7, 7], 6, [3, 3], pads=[1, 1, 1, 1], per_channel=False, w_type=U8, w_zp=134)
    yield c("uint8_weights_zero_point0", [1, 5, 6, 6], 6, [1, 1], per_channel=False, w_type=U8, w_zp=0)
    yield c("uint8_weights_zero_point255", [1, 5, 6, 6], 6, [1, 1], per_channel=False, w_type=U8, w_zp=255)
    for zp in (0, 128, 255):
        yield c(f"x_zero_point{zp}", [1, 4, 6, 7], 5, [3, 3], pads=[1, 1, 1, 1], x_zp=zp)
        yield c(f"y_zero_point{zp}", [1, 4, 6, 7], 5, [3, 3], pads=[1, 1, 1, 1], y_zp=zp)
    yield c("zero_points_0_0", [1, 4, 6, 7], 5, [3, 3], pads=[1, 1, 1, 1], x_zp=0, y_zp=0)
    yield c("zero_points_255_255", [1, 4, 6, 7], 5, [3, 3], pads=[1, 1, 1, 1], x_zp=255, y_zp=255)
    yield c("relu", [1, 5, 7, 6], 6, [3, 3], pads=[1, 1, 1, 1], x_zp=0, y_zp=0, activation="relu")
    yield c("relu_zero_point", [1, 5, 7, 6], 6, [3, 3], pads=[1, 1, 1, 1], y_zp=17, activation="relu")
    yield c("relu6", [1, 5, 7, 6], 6, [3, 3], pads=[1, 1, 1, 1], x_zp=0, y_zp=0, activation="clip6",
            y_scale=np.float32(6) / np.float32(255))
    yield c("relu6_wide_scale", [1, 5, 7, 6], 6, [3, 3], pads=[1, 1, 1, 1], y_zp=20, activation="clip6", y_scale=0.03)
    yield c("saturating", [1, 5, 7, 6], 6, [3, 3], pads=[1, 1, 1, 1], spread=0.8)
    yield c("multiplier_above_one", [1, 1, 6, 6], 4, [1, 1], spread=5.0, bias=False, w_limit=1, x_zp=20,
            y_scale=0.01)
    yield c("tiny_multiplier", [1, 5, 6, 6], 6, [3, 3], pads=[1, 1, 1, 1], spread=400.0)
    yield c("batch2", [2, 4, 5, 6], 5, [3, 3], pads=[1, 1, 1, 1])
    yield c("batch3_depthwise", [3, 5, 4, 5], 5, [3, 3], group=5, pads=[1, 1, 1, 1])
    yield c("conv1d", [1, 5, 23], 7, [3], pads=[1, 1])
    yield c("conv1d_dilation_stride", [1, 4, 31], 6, [5], strides=[2], dilations=[3], pads=[6, 4])
    yield c("conv1d_depthwise", [1, 8, 19], 8, [9], group=8, pads=[4, 4])
    yield c("conv1d_same_upper", [1, 3, 18], 4, [4], strides=[3], auto_pad="SAME_UPPER")
    yield c("weights_constant_node", [1, 4, 5, 5], 5, [3, 3], form="constant")
    yield c("weights_float_quantized", [1, 4, 5, 5], 5, [3, 3], form="float")
    yield c("bias_float", [1, 4, 5, 5], 5, [3, 3], float_bias=True)
    yield c("int8_activations", [1, 5, 7, 6], 6, [3, 3], pads=[1, 1, 1, 1], x_type=S8, x_zp=-12, y_zp=5)
    yield c("int8_activations_depthwise", [1, 7, 6, 6], 7, [3, 3], group=7, pads=[1, 1, 1, 1], x_type=S8, x_zp=-128,
            y_zp=-128)
    yield c("int8_activations_relu", [1, 5, 6, 6], 6, [1, 1], x_type=S8, x_zp=7, y_zp=-128, activation="relu")
