"""Family float, second half: operators that move or compare values, old attribute forms, shapes computed in the graph."""

import numpy as np

from floats import FAMILY, f32, ints, one
from graph import Graph


def movers():
    image = [1, 3, 4, 5]
    yield one("pad", image, "Pad", ints(0, 0, 1, 2, 0, 0, 0, 1))
    yield one("pad_value", image, "Pad", ints(0, 1, 0, 0, 0, 0, 2, 0), f32(-1.5))
    yield one("pad_reflect", image, "Pad", ints(0, 0, 2, 1, 0, 0, 1, 3), mode="reflect")
    yield one("pad_edge", image, "Pad", ints(0, 0, 2, 1, 0, 0, 1, 3), mode="edge")
    yield one("pad_axes_opset18", image, "Pad", ints(1, 2, 0, 1), "", ints(2, 3), opset=18)
    yield one("pad_attributes_opset9", image, "Pad", opset=9, pads=[0, 0, 1, 0, 0, 0, 2, 1], value=0.5)
    yield one("slice", image, "Slice", ints(1, 0), ints(4, 5), ints(2, 3), ints(1, 2))
    yield one("slice_negative", image, "Slice", ints(-3), ints(-1), ints(-1))
    yield one("slice_reverse", image, "Slice", ints(-1), ints(-1000), ints(3), ints(-1))
    yield one("slice_attributes_opset9", image, "Slice", opset=9, axes=[2, 3], starts=[1, 0], ends=[9999, -1])
    yield one("transpose", image, "Transpose", perm=[0, 2, 3, 1])
    yield one("transpose_default", [2, 3, 4], "Transpose")
    yield one("reshape", image, "Reshape", ints(0, -1))
    yield one("flatten", [2, 3, 2, 2], "Flatten")
    yield one("flatten_axis0", [2, 3, 2], "Flatten", axis=0)
    yield one("squeeze", [1, 3, 1, 5], "Squeeze", ints(2))
    yield one("squeeze_all", [1, 3, 1, 5], "Squeeze")
    yield one("squeeze_attribute_opset11", [1, 3, 1, 5], "Squeeze", opset=11, axes=[0, 2])
    yield one("unsqueeze", [3, 4], "Unsqueeze", ints(0, -1))
    yield one("unsqueeze_attribute_opset11", [3, 4], "Unsqueeze", opset=11, axes=[1])
    yield one("gather", image, "Gather", ints(2, 0, -1), axis=1)
    yield one("gather_scalar", image, "Gather", np.int64(1), axis=2)
    yield one("expand", [1, 3, 1, 5], "Expand", ints(1, 1, 4, 1))
    yield one("tile", [1, 3, 2], "Tile", ints(2, 1, 3))
    yield one("depth_to_space", [1, 8, 2, 3], "DepthToSpace", blocksize=2)
    yield one("depth_to_space_crd", [1, 8, 2, 3], "DepthToSpace", blocksize=2, mode="CRD")
    yield one("space_to_depth", [1, 2, 4, 6], "SpaceToDepth", blocksize=2)
    yield one("cast_to_int32", [3, 7], "Cast", to=6, out_type=np.int32)
    yield one("cast_to_float", [3, 7], "Cast", to=1)
    yield one("dropout", [3, 7], "Dropout")
    for name, sizes, attributes, opset in (("split", (2, 3), {}, 13), ("split_attribute_opset11", (2, 3), {}, 11),
                                           ("split_equal", None, {}, 13)):
        g = Graph(FAMILY, name, "float", opset)
        x = g.input("x", g.real([1, 5 if sizes else 6, 4]))
        constants = [ints(*sizes)] if sizes and opset >= 13 else []
        attributes = {"split": list(sizes)} if sizes and opset < 13 else attributes
        parts = g.op("Split", x, *constants, axis=1, count=2, **attributes)
        for i, part in enumerate(parts):
            g.op("Neg", part, out=f"y{i}")
            g.output(f"y{i}")
        yield g
    for name, axis, shapes in (("concat", 1, ([1, 2, 3], [1, 4, 3])),
                               ("concat_last_axis", -1, ([2, 3], [2, 1], [2, 2])),
                               ("concat_axis0", 0, ([2, 3], [1, 3]))):
        g = Graph(FAMILY, name, "float")
        g.op("Concat", *[g.input(f"x{i}", g.real(s)) for i, s in enumerate(shapes)], axis=axis, out="y")
        g.output("y")
        yield g


def resizes():
    image, double, odd = [1, 2, 3, 4], np.array([1, 1, 2, 2], np.float32), ints(1, 2, 5, 7)
    floor = dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    yield one("resize_nearest_floor", image, "Resize", "", double, **floor)
    yield one("resize_nearest_floor_sizes", image, "Resize", "", "", odd, **floor)
    yield one("resize_nearest_half_pixel", image, "Resize", "", "", odd, mode="nearest",
              coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_floor")
    yield one("resize_nearest_ceil", image, "Resize", "", "", odd, mode="nearest",
              coordinate_transformation_mode="align_corners", nearest_mode="ceil", may_fall_back=True)
    for mode in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        yield one(f"resize_linear_{mode}", image, "Resize", "", double, mode="linear",
                  coordinate_transformation_mode=mode)
        yield one(f"resize_linear_{mode}_sizes", image, "Resize", "", "", odd, mode="linear",
                  coordinate_transformation_mode=mode)
    yield one("resize_cubic", image, "Resize", "", double, mode="cubic", may_fall_back=True,
              coordinate_transformation_mode="half_pixel")
    yield one("resize_opset10", image, "Resize", double, opset=10, mode="nearest")
    yield one("upsample_nearest_opset9", image, "Upsample", double, opset=9, mode="nearest")
    yield one("upsample_linear_opset9", image, "Upsample", double, opset=9, mode="linear", may_fall_back=True)


def regions():
    boxes = f32([[1.5, 0.5, 6, 5], [-2, -3, 2.5, 2], [3, 2, 3.25, 2.5], [5, 4, 1, 2], [-9, -9, 30, 40], [20, 20, 25, 30],
                 [0, 0, 4, 16]])
    images = ints(1, 0, 1, 0, 1, 0, 1)
    cases = (("", 16, dict(sampling_ratio=2)), ("adaptive", 16, dict()), ("max", 16, dict(mode="max", sampling_ratio=3)),
             ("max_adaptive", 16, dict(mode="max")),
             ("output_half_pixel", 16, dict(coordinate_transformation_mode="output_half_pixel", sampling_ratio=1)),
             ("opset10", 10, dict(spatial_scale=0.5)), ("scale", 16, dict(spatial_scale=0.75, sampling_ratio=2)))
    for name, opset, attributes in cases:
        g = Graph(FAMILY, f"roi_align_{name}".rstrip("_"), "float", opset)
        x = g.input("x", g.real([2, 3, 6, 8]))
        constant = name == "adaptive"
        rois = boxes if constant else g.input("rois", boxes)
        numbers = images if constant else g.input("batch_indices", images)
        g.op("RoiAlign", x, rois, numbers, out="y", output_height=3, output_width=2, **attributes)
        g.output("y")
        yield g


def comparisons():
    """What is true is told as 1."""
    def told(g, *sides, kind):
        g.op("Cast", g.op(kind, *sides), to=1, out="y")
        g.output("y")
        return g
    whole = lambda g, name, shape, dtype: g.input(name, g.ints(shape, dtype, -2, 2))
    g = Graph(FAMILY, "one_hot", "float")
    yield told(g, whole(g, "x", [2, 5, 1], np.int32), np.arange(-1, 4, dtype=np.int32), kind="Equal")
    for kind in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
        g = Graph(FAMILY, f"{kind.lower()}_int64", "float")
        yield told(g, whole(g, "a", [2, 1, 4], np.int64), whole(g, "b", [3, 1], np.int64), kind=kind)
        # NaN, both zeros and infinity.
        g = Graph(FAMILY, f"{kind.lower()}_of_constant", "float")
        values = f32([np.nan, -np.inf, -1, -0.0, 0, 1, np.inf])
        yield told(g, values, g.input("x", np.repeat(values[:, None], 7, 1)), kind=kind)
    g = Graph(FAMILY, "xor", "float")
    yield told(g, *(g.op("Cast", whole(g, n, s, np.int32), to=9) for n, s in (("a", [4, 1]), ("b", [3]))), kind="Xor")


def dynamic():
    """What PyTorch exports for x.view(x.size(0), -1) and for a symbolic batch."""
    for name, opset in (("view_symbolic_batch", 13), ("view_symbolic_batch_opset9", 9)):
        g = Graph(FAMILY, name, "float", opset)
        x = g.input("x", g.real([2, 3, 2, 2]), ["N", 3, 2, 2])
        size = g.op("Gather", g.op("Shape", x), np.int64(0), axis=0)
        if opset < 13:
            parts = [g.op("Unsqueeze", size, axes=[0]), ints(-1)]
        else:
            parts = [g.op("Unsqueeze", size, ints(0)), ints(-1)]
        g.op("Gemm", g.op("Reshape", x, g.op("Concat", *parts, axis=0)), g.real([5, 12], -1, 1), g.real([5]), transB=1,
             out="y")
        g.output("y")
        yield g
    g = Graph(FAMILY, "channel_shuffle_symbolic_batch", "float")
    x = g.input("x", g.real([1, 6, 2, 3]), ["N", 6, 2, 3])
    shape = g.op("Shape", x)
    at = [g.op("Unsqueeze", g.op("Gather", shape, np.int64(i), axis=0), ints(0)) for i in range(4)]
    group = g.op("Unsqueeze", g.op("Div", g.op("Gather", shape, np.int64(1), axis=0), np.int64(2)), ints(0))
    y = g.op("Reshape", x, g.op("Concat", at[0], ints(2), group, at[2], at[3], axis=0))
    y = g.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    g.op("Reshape", y, g.op("Concat", at[0], ints(-1), at[2], at[3], axis=0), out="y")
    g.output("y")
    yield g
    g = Graph(FAMILY, "shape_of_half_upsample", "float")
    x = g.input("x", g.real([1, 2, 4, 6]))
    fine = g.op("Slice", g.op("Shape", x), ints(2), ints(4), ints(0))
    sizes = g.op("Concat", ints(1, 2), g.op("Cast", fine, to=7), axis=0)
    small = g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    up = g.op("Resize", small, "", "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric",
              nearest_mode="floor")
    g.op("Add", up, x, out="y")
    g.output("y")
    yield g
    g = Graph(FAMILY, "conv_symbolic_batch", "float")
    x = g.input("x", g.real([3, 2, 4, 4]), ["N", 2, 4, 4])
    y = g.op("Relu", g.op("Conv", x, g.real([3, 2, 3, 3], -1, 1), g.real([3]), pads=[1] * 4, kernel_shape=[3, 3]))
    g.op("Flatten", g.op("GlobalAveragePool", y), out="y")
    g.output("y")
    yield g
    g = Graph(FAMILY, "constant_of_shape_add", "float")
    x = g.input("x", g.real([2, 5]))
    g.op("Add", x, g.op("ConstantOfShape", g.op("Shape", x)), out="y")
    g.output("y")
    yield g
    g = Graph(FAMILY, "attention", "float", atol=1e-4)
    q, k, v = (g.input(n, g.real([1, 2, 4, 6])) for n in "qkv")
    scores = g.op("Mul", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), f32(6**-0.5))
    g.op("MatMul", g.op("Softmax", scores, axis=-1), v, out="y")
    g.output("y")
    yield g


def cases():
    yield from movers()
    yield from resizes()
    yield from regions()
    yield from comparisons()
    yield from dynamic()
