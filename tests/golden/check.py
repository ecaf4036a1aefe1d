"""Runs a case in onnxruntime, finds out what onnxruntime really computed in int8, and checks it by other means."""

import os
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun


QUANTIZED_OPERATORS = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger")
INTEGER_TYPES = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)


def session(model, dump=None, optimize=True):
    """One thread, default optimizations, CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if dump:
        options.optimized_model_filepath = dump
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(model, feeds, optimize=True):
    """Outputs by name, and whether every computing node of the optimized graph works on 8-bit integers."""
    with tempfile.TemporaryDirectory() as folder:
        dump = os.path.join(folder, "optimized.onnx")
        running = session(model, dump, optimize)
        names = [o.name for o in running.get_outputs()]
        results = dict(zip(names, running.run(names, feeds)))
        return results, in_int8(onnx.load(dump))


def in_int8(model):
    """True when no node but Q and DQ reads or writes float activations."""
    graph = model.graph
    types = {t.name: t.data_type for t in graph.initializer}
    types |= {v.name: v.type.tensor_type.elem_type for v in graph.input}
    constants = {t.name for t in graph.initializer}
    for node in graph.node:
        kind = types.get(node.input[0]) if node.input else None
        if node.op_type == "DequantizeLinear":
            result = onnx.TensorProto.FLOAT
        elif node.op_type == "QuantizeLinear":
            result = types.get(node.input[2], onnx.TensorProto.UINT8) if len(node.input) > 2 else onnx.TensorProto.UINT8
        elif node.op_type.startswith(QUANTIZED_OPERATORS):
            points = [types[i] for i in node.input if i in constants and types[i] in INTEGER_TYPES]
            result = types.get(node.input[0]) if types.get(node.input[0]) in INTEGER_TYPES else points[-1]
        else:
            if kind not in INTEGER_TYPES:
                return False
            result = kind
        for name in node.output:
            types[name] = result
    return True


# --- a second opinion: onnx's reference evaluator, with the com.microsoft operators in float64 ---


def _real(x, scale, zero_point, axis=None):
    scale, zero_point = np.asarray(scale, np.float64), np.asarray(zero_point, np.float64)
    if axis is not None and scale.ndim and scale.size > 1:
        shape = [1] * x.ndim
        shape[axis] = -1
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    return (x.astype(np.float64) - zero_point) * scale.reshape(scale.shape if scale.size > 1 else ())


def _grid(x, scale, zero_point):
    info = np.iinfo(zero_point.dtype)
    value = np.rint(np.asarray(x, np.float64) / np.float64(np.squeeze(scale))) + float(np.squeeze(zero_point))
    return np.clip(value, info.min, info.max).astype(zero_point.dtype)


def _operator(name, body, domain="com.microsoft"):
    namespace = {"op_domain": domain, "_run": lambda self, *a, **k: (body(*a, **k),)}
    return type(name, (OpRun,), namespace)


def _quantize(x, scale, zero_point=np.uint8(0), axis=1, **_):
    """In f32, as ONNX says; onnx's evaluator has this operator for new operator sets only."""
    info = np.iinfo(zero_point.dtype)
    shape = [1] * x.ndim
    if scale.size > 1:
        shape[axis] = -1
    value = np.rint(x / scale.reshape(shape if scale.size > 1 else ())) + zero_point.reshape(
        shape if scale.size > 1 else ()).astype(np.float32)
    return np.clip(value, info.min, info.max).astype(zero_point.dtype)


def _dequantize(x, scale, zero_point=np.uint8(0), axis=1, **_):
    shape = [1] * x.ndim
    if scale.size > 1:
        shape[axis] = -1
    shape = shape if scale.size > 1 else ()
    return (x.astype(np.int64) - zero_point.astype(np.int64).reshape(shape)).astype(np.float32) * scale.reshape(shape)


def _average_pool(x, xs, xz, ys, yz, kernel_shape=None, strides=None, pads=None, count_include_pad=0, ceil_mode=0,
                  **_):
    node = onnx.helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=kernel_shape, strides=strides, pads=pads,
                                 count_include_pad=count_include_pad or 0, ceil_mode=ceil_mode or 0)
    return _grid(ReferenceEvaluator(node).run(None, {"x": _real(x, xs, xz).astype(np.float32)})[0], ys, yz)


def _softmax(x, xs, xz, ys, yz, axis=-1, opset=13):
    del opset
    real = _real(x, xs, xz)
    real = np.exp(real - real.max(axis, keepdims=True))
    return _grid(real / real.sum(axis, keepdims=True), ys, yz)


def _qgemm(a, sa, za, b, sb, zb, c, ys, yz, transA=0, transB=0, alpha=1.0):
    del transA
    real = _real(b, sb, zb, 0 if transB else 1)
    scale = np.float64(sa) * np.asarray(sb, np.float64)
    y = (alpha or 1.0) * _real(a, sa, za) @ (real.T if transB else real)
    return _grid(y + (0 if c is None else c * scale), ys, yz)


def _concat(ys, yz, *rest, axis=1):
    parts = [_real(rest[i], rest[i + 1], rest[i + 2]) for i in range(0, len(rest), 3)]
    return _grid(np.concatenate(parts, axis), ys, yz)


OPERATORS = [
    _operator("QuantizeLinear", _quantize, ""),
    _operator("DequantizeLinear", _dequantize, ""),
    _operator("QLinearAdd", lambda a, sa, za, b, sb, zb, sy, zy: _grid(_real(a, sa, za) + _real(b, sb, zb), sy, zy)),
    _operator("QLinearMul", lambda a, sa, za, b, sb, zb, sy, zy: _grid(_real(a, sa, za) * _real(b, sb, zb), sy, zy)),
    _operator("QLinearGlobalAveragePool", lambda x, sx, zx, sy, zy, channels_last=0: _grid(
        _real(x, sx, zx).mean(tuple(range(1, x.ndim - 1) if channels_last else range(2, x.ndim)), keepdims=True),
        sy, zy)),
    _operator("QLinearAveragePool", _average_pool),
    _operator("QLinearConcat", _concat),
    _operator("QGemm", _qgemm),
    _operator("QLinearSigmoid", lambda x, sx, zx, sy, zy: _grid(1 / (1 + np.exp(-_real(x, sx, zx))), sy, zy)),
    _operator("QLinearLeakyRelu", lambda x, sx, zx, sy, zy, alpha=0.01: _grid(
        np.where(_real(x, sx, zx) < 0, alpha, 1) * _real(x, sx, zx), sy, zy)),
    _operator("QLinearSoftmax", _softmax),
]


def second_opinion(model, feeds):
    """What onnx's own reference evaluator computes; None where it has no such operator."""
    try:
        evaluator = ReferenceEvaluator(model, new_ops=OPERATORS)
        return dict(zip([o.name for o in model.graph.output], evaluator.run(None, feeds)))
    except Exception as error:  # the evaluator raises whatever its numpy code meets
        return str(error).splitlines()[0] if str(error) else type(error).__name__


def steps(entry, ours, theirs):
    """Differences in quantization steps (integers), for an output with a grid or an integer output."""
    if "scale" in entry and np.issubdtype(ours.dtype, np.floating):
        scale = np.float64(np.float32(entry["scale"]))
        ours, theirs = np.rint(ours / scale), np.rint(theirs / scale)
    return np.abs(ours.astype(np.int64) - theirs.astype(np.int64))


# --- the contract: y = clamp(rne(f32(acc) × m) + zp), m = (sx × sw) / sy in f32 ---


def requantize(acc, x_scale, w_scale, y_scale, y_zero_point, dtype, axis):
    """Requantize int64 accumulators with one f32 multiplication."""
    m = (np.float32(x_scale) * np.asarray(w_scale, np.float32)) / np.float32(y_scale)
    if m.ndim:
        shape = [1] * acc.ndim
        shape[axis] = -1
        m = m.reshape(shape)
    info = np.iinfo(dtype)
    assert np.abs(acc).max() < 2**31
    product = acc.astype(np.int32).astype(np.float32) * m.astype(np.float32)
    return np.clip(np.rint(product).astype(np.int64) + int(y_zero_point), info.min, info.max).astype(dtype)


def accumulate(x, x_zero_point, w, w_zero_point, bias, strides, pads, dilations, group):
    """Integer convolution for any number of spatial axes; padding counts as the zero point."""
    rank = w.ndim - 2
    x = x.astype(np.int64) - int(x_zero_point)
    w = w.astype(np.int64) - np.asarray(w_zero_point, np.int64).reshape([-1] + [1] * (rank + 1))
    x = np.pad(x, [(0, 0), (0, 0)] + [(pads[i], pads[rank + i]) for i in range(rank)])
    kernel = w.shape[2:]
    size = [(x.shape[2 + i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(rank)]
    acc = np.zeros([x.shape[0], w.shape[0], *size], np.int64)
    per_out, per_in = w.shape[0] // group, w.shape[1]
    for g in range(group):
        outs, ins = slice(g * per_out, (g + 1) * per_out), slice(g * per_in, (g + 1) * per_in)
        for tap in np.ndindex(*kernel):
            window = tuple(slice(tap[i] * dilations[i], tap[i] * dilations[i] + (size[i] - 1) * strides[i] + 1,
                                 strides[i]) for i in range(rank))
            acc[:, outs] += np.einsum("nc...,oc->no...", x[(slice(None), ins) + window],
                                      w[(outs, slice(None)) + tap])
    if bias is not None:
        acc += bias.astype(np.int64).reshape([1, -1] + [1] * rank)
    return acc
