"""Family transformer: what transformers are made of, in float32, whole and as exporters take it apart."""

import numpy as np

from floats import f32, ints
from graph import Graph

FAMILY = "transformer"
LEAST = f32(np.finfo(np.float32).min)


def case(name, opset=17, **extra):
    return Graph(FAMILY, name, "float", opset, atol=1e-5, rtol=1e-4, **extra)


def lookups():
    for name, table, indices, axis, dtype in (("lookup", [11, 6], [[3, -1, 0], [10, 3, -11]], 0, np.int64),
                                              ("lookup_int32", [11, 6], [4, 0, 4], 0, np.int32),
                                              ("lookup_inner_axis", [2, 5, 3], [[4, 0], [1, -2]], 1, np.int64),
                                              ("lookup_scalar", [7, 4], 5, 0, np.int64)):
        g = case(name)
        g.op("Gather", g.real(table), g.input("i", np.array(indices, dtype)), axis=axis, out="y")
        g.output("y")
        yield g
    g = case("lookup_of_activation")
    g.op("Gather", g.input("x", g.real([2, 5, 3])), g.input("i", ints(1, 1, 4)), axis=1, out="y")
    g.output("y")
    yield g


def selections():
    g = case("where")
    condition = g.op("Cast", g.input("c", g.ints([2, 1, 5], np.int64, 0, 1)), to=9)
    g.op("Where", condition, g.input("a", g.real([3, 1])), g.input("b", g.real([2, 3, 5])), out="y")
    g.output("y")
    yield g
    g = case("where_of_constants")
    condition = g.op("Cast", g.input("c", g.ints([1, 6], np.int64, 0, 1)), to=9)
    g.op("Where", condition, f32(1.5), g.real([4, 1]), out="y")
    g.output("y")
    yield g
    g = case("where_of_int64")
    condition = g.op("Cast", g.input("c", g.ints([2, 3], np.int64, 0, 1)), to=9)
    g.op("Where", condition, g.input("a", g.ints([2, 3], np.int64, -9, 9)), ints(7), out="y")
    g.output("y", np.int64)
    yield g


def layer_norm(g, x, n, *, variant="", epsilon=1e-5, opset18=False, scale=True, bias=True):
    """Layer normalisation as PyTorch's exporter took it apart before opset 17, with the turns that others take."""

    def mean(t):
        return g.op("ReduceMean", t, ints(-1)) if opset18 else g.op("ReduceMean", t, axes=[-1])

    about_zero = "rms" in variant
    centred = x if about_zero else g.op("Sub", x, mean(x))
    again = g.op("Sub", x, mean(x)) if "twice" in variant else centred
    square = g.op("Mul", centred, centred) if "product" in variant else g.op("Pow", centred, f32(2))
    root = g.op("Sqrt", g.op("Add", mean(square), f32(epsilon)))
    if "reciprocal" in variant:
        y = g.op("Mul", again, g.op("Reciprocal", root))
    elif "one_by" in variant:
        y = g.op("Mul", g.op("Div", f32(1), root), again)
    else:
        y = g.op("Div", again, root)
    if scale:
        y = g.op("Mul", y, g.real([n], 0.5, 1.5)) if "left" not in variant else g.op("Mul", g.real([n], 0.5, 1.5), y)
    return g.op("Add", y, g.real([n])) if bias else y


def normalisations():
    for name, shape, attributes in (("layer_norm", [2, 3, 40], {}), ("layer_norm_axes", [2, 3, 7], {"axis": 1}),
                                    ("layer_norm_epsilon", [5, 33], {"axis": -1, "epsilon": 0.1})):
        g = case(name)
        rows = shape[attributes.get("axis", -1):]
        g.op("LayerNormalization", g.input("x", g.real(shape)), g.real(rows, 0.5, 1.5), g.real(rows), out="y", **attributes)
        g.output("y")
        yield g
    for variant, options in (("plain", {}), ("twice", {}), ("product_left", {}), ("reciprocal", {}), ("one_by", {}),
                             ("rms", {"bias": False}), ("rms_reciprocal_left_product", {"bias": False}),
                             ("no_bias", {"bias": False}), ("no_scale", {"scale": False, "bias": False}),
                             ("opset18", {"opset18": True})):
        g = case(f"layer_norm_apart_{variant}", 18 if options.get("opset18") else 17)
        x = g.input("x", g.real([2, 5, 24]))
        g.op("Neg", layer_norm(g, x, 24, variant=variant, **options), out="y")
        g.output("y")
        yield g
    g = case("layer_norm_residual")
    x, other = g.input("x", g.real([1, 6, 20])), g.input("r", g.real([1, 6, 20]))
    g.op("Neg", layer_norm(g, g.op("Add", x, other), 20), out="y")
    g.output("y")
    yield g
    g = case("layer_norm_residual_is_read_twice")
    total = g.op("Add", g.input("x", g.real([1, 6, 20])), g.input("r", g.real([20])))
    g.op("Add", layer_norm(g, total, 20), total, out="y")
    g.output("y")
    yield g


def functions():
    def erf(g, x, factor):
        inner = g.op("Div", x, f32(np.sqrt(2))) if factor != "mul" else g.op("Mul", x, f32(np.sqrt(0.5)))
        plus = g.op("Add", g.op("Erf", inner), f32(1))
        if factor == "half first":
            return g.op("Mul", g.op("Mul", x, f32(0.5)), plus)
        if factor == "half last":
            return g.op("Mul", g.op("Mul", x, plus), f32(0.5))
        return g.op("Mul", x, g.op("Mul", plus, f32(0.5)))

    for name, factor in (("gelu_apart", "half last"), ("gelu_apart_half_first", "half first"), ("gelu_apart_mul", "mul")):
        g = case(name)
        g.op("Neg", erf(g, g.input("x", g.real([3, 37])), factor), out="y")
        g.output("y")
        yield g
    g = case("gelu_tanh_apart")
    x = g.input("x", g.real([3, 37]))
    cubic = g.op("Mul", g.op("Pow", x, f32(3)), f32(0.044715))
    tanh = g.op("Tanh", g.op("Mul", g.op("Add", x, cubic), f32(np.sqrt(2 / np.pi))))
    g.op("Neg", g.op("Mul", g.op("Mul", x, f32(0.5)), g.op("Add", tanh, f32(1))), out="y")
    g.output("y")
    yield g
    g = case("swish_apart")
    x = g.input("x", g.real([3, 37]))
    g.op("Neg", g.op("Mul", x, g.op("Sigmoid", x)), out="y")
    g.output("y")
    yield g
    g = case("matmul_bias_of_tokens")
    product = g.op("MatMul", g.input("x", g.real([2, 5, 12])), g.real([12, 9], -0.5, 0.5))
    g.op("Relu", g.op("Add", g.real([9]), product), out="y")
    g.output("y")
    yield g


def attentions():
    def heads(g, name, tokens, count, width, perm):
        x = g.input(name, g.real([2, tokens, count * width], -1.5, 1.5))
        return g.op("Transpose", g.op("Reshape", x, ints(2, tokens, count, width)), perm=perm)

    def attend(name, *, tokens=9, keys=13, count=3, kv=None, width=8, values=8, mask=None, scaling="div"):
        g = case(name)
        q = heads(g, "q", tokens, count, width, [0, 2, 1, 3])
        k = heads(g, "k", keys, kv or count, width, [0, 2, 3, 1])
        v = heads(g, "v", keys, kv or count, values, [0, 2, 1, 3])
        if scaling == "both":
            root = f32(width ** -0.25)
            q, k = g.op("Mul", q, root), g.op("Mul", k, root)
        scores = g.op("MatMul", q, k)
        if scaling == "shape":
            # As torch.onnx takes scaled_dot_product_attention apart.
            size = g.op("Cast", g.op("Slice", g.op("Shape", q), ints(-1), ints(2**62)), to=1)
            root = g.op("Sqrt", g.op("Div", f32([1]), g.op("Sqrt", size)))
            q, k = g.op("Mul", q, root), g.op("Mul", k, root)
            scores = g.op("MatMul", q, k)
        if scaling == "div":
            scores = g.op("Div", scores, f32(np.sqrt(width)))
        if scaling == "mul":
            scores = g.op("Mul", f32(width ** -0.5), scores)
        if mask == "padding":
            padding = np.zeros([2, 1, 1, keys], np.float32)
            padding[0, ..., keys - 4:] = LEAST
            scores = g.op("Add", scores, g.input("m", padding))
        if mask == "causal":
            causal = np.triu(np.full([tokens, keys], LEAST), 1)
            scores = g.op("Add", g.const(causal), scores)
        if mask in ("fill", "keep"):
            # masked_fill: the condition holds where keys are hidden; and the other way round.
            shown = g.op("Cast", g.input("m", np.repeat(ints(1, 0, 1), [keys - 6, 4, 2]).reshape(1, 1, 1, keys)), to=9)
            least = f32(-np.inf) if mask == "fill" else LEAST
            scores = g.op("Where", g.op("Not", shown), least, scores) if mask == "fill" else g.op("Where", shown, scores, least)
        if mask == "triangle":
            shown = np.tril(np.ones([1, 1, tokens, keys], bool))
            scores = g.op("Add", g.op("Where", g.const(shown), scores, LEAST), g.input("m", g.real([2, 1, 1, keys])))
        y = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
        y = g.op("Reshape", g.op("Transpose", y, perm=[0, 2, 1, 3]), ints(2, tokens, count * values))
        g.op("Neg", y, out="y")
        g.output("y")
        return g

    yield attend("attention_heads")
    yield attend("attention_padding", mask="padding", scaling="mul")
    yield attend("attention_causal", mask="causal", keys=9, scaling="both")
    yield attend("attention_shared_keys", kv=1, scaling="none")
    yield attend("attention_wide", tokens=5, keys=40, count=2, width=36, values=50)
    yield attend("attention_scale_of_shape", scaling="shape", mask="padding")
    yield attend("attention_filled", mask="fill")
    yield attend("attention_where", mask="keep", scaling="shape")
    yield attend("attention_triangle", mask="triangle", keys=9, scaling="mul")
    g = case("attention_of_matrices")
    q, k, v = (g.input(name, g.real([6, 10], -1, 1)) for name in "qkv")
    g.op("Neg", g.op("MatMul", g.op("Softmax", g.op("MatMul", q, g.op("Transpose", k)), axis=-1), v), out="y")
    g.output("y")
    yield g
    g = case("attention_weights_are_an_output")
    q, k, v = (g.input(name, g.real([1, 6, 10], -1, 1)) for name in "qkv")
    weights = g.op("Softmax", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 2, 1])), axis=-1, out="w")
    g.op("MatMul", weights, v, out="y")
    g.output("w")
    g.output("y")
    yield g


def products():
    """Dynamic quantization as onnxruntime's quantizer writes it."""

    def product(g, x, levels, k, n, *, dtype=np.int8, per_channel=True, bias=True, zero=0):
        xq, x_scale, x_zero = levels
        w = g.ints([k, n], dtype, *((1, 255) if dtype == np.uint8 else (-127, 127)))
        scale = g.scale(0.001, 0.01, (n,) if per_channel else ())
        zeros = np.full((n,) if per_channel else (), zero, dtype)
        y = g.op("Cast", g.op("MatMulInteger", xq, w, x_zero, zeros), to=1)
        y = g.op("Mul", y, g.op("Mul", x_scale, scale))
        return g.op("Add", g.real([n]), y) if bias else y

    for name, shape, n, options in (("dynamic_product", [1, 6, 24], 20, {}),
                                    ("dynamic_product_of_matrix", [5, 7], 9, {"bias": False}),
                                    ("dynamic_product_one_scale", [2, 3, 16], 33, {"per_channel": False}),
                                    ("dynamic_product_uint8", [4, 12], 5, {"dtype": np.uint8, "zero": 117, "per_channel": False}),
                                    ("dynamic_product_single_row", [1, 40], 48, {})):
        g = case(name)
        x = g.input("x", g.real(shape))
        g.op("Neg", product(g, x, g.op("DynamicQuantizeLinear", x, count=3), shape[-1], n, **options), out="y")
        g.output("y")
        yield g
    g = case("dynamic_products_share_levels")
    x = g.input("x", g.real([1, 6, 24], 0.5, 2.0))
    levels = g.op("DynamicQuantizeLinear", x, count=3)
    g.op("Sub", product(g, x, levels, 24, 10), product(g, x, levels, 24, 10), out="y")
    g.output("y")
    yield g
    g = case("dynamic_product_of_zeros")
    x = g.input("x", np.zeros([3, 8], np.float32))
    g.op("Neg", product(g, x, g.op("DynamicQuantizeLinear", x, count=3), 8, 4), out="y")
    g.output("y")
    yield g


def cases():
    for family in (lookups, selections, normalisations, functions, attentions, products):
        yield from family()
