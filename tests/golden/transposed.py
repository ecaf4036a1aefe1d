"""Transposed convolutions, float and between Q/DQ pairs: writes transposed/ and transposed.json.

Same environment and same layout as make.py. onnxruntime computes them in float between dequantized values: an int8
answer may be one step off where it lies near a tie.
"""
import json
import pathlib

import numpy as np
import onnx
import onnxruntime as ort

from graph import S8, Graph

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE / "transposed"
CASES = []


def finish(g, tolerance):
    """Runs a graph in onnxruntime and writes it with inputs and answers."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = g.model()
    run = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output["name"] for output in g.outputs]
    results = dict(zip(names, run.run(names, g.feeds)))
    onnx.save(g.model(results), FOLDER / f"{g.name}.onnx")
    arrays = {f"in.{k}": v for k, v in g.feeds.items()} | {f"out.{k}": v for k, v in results.items()}
    np.savez_compressed(FOLDER / f"{g.name}.npz", **arrays)
    CASES.append(dict(name=g.name, family="transposed", model=f"transposed/{g.name}.onnx",
                      data=f"transposed/{g.name}.npz", tolerance=tolerance, outputs=g.outputs, may_fall_back=False))


FORMS = {
    "k2_stride2": ([1, 5, 4, 6], 3, [2, 2], dict(strides=[2, 2])),
    "k3_stride2_uneven": ([1, 5, 4, 6], 3, [3, 3], dict(strides=[2, 2], pads=[1, 1, 1, 1])),
    "k4_stride2_pads": ([1, 8, 5, 5], 4, [4, 4], dict(strides=[2, 2], pads=[1, 1, 1, 1])),
    "k3_output_padding": ([1, 4, 5, 3], 6, [3, 3], dict(strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])),
    "k5x2_stride3x2": ([1, 3, 4, 5], 4, [5, 2], dict(strides=[3, 2], pads=[1, 0, 2, 1])),
    "dilation2": ([1, 3, 5, 5], 2, [3, 3], dict(strides=[2, 2], dilations=[2, 2], pads=[2, 2, 2, 2])),
    "stride1": ([1, 4, 6, 6], 4, [3, 3], dict(pads=[1, 1, 1, 1])),
    "kernel_below_stride": ([1, 3, 4, 4], 2, [1, 1], dict(strides=[2, 2])),
    "group2": ([1, 6, 4, 4], 8, [4, 4], dict(strides=[2, 2], pads=[1, 1, 1, 1], group=2)),
    "depthwise": ([1, 5, 4, 4], 5, [4, 4], dict(strides=[2, 2], pads=[1, 1, 1, 1], group=5)),
    "batch2": ([2, 3, 3, 4], 2, [2, 2], dict(strides=[2, 2])),
    "1d": ([1, 4, 9], 3, [4], dict(strides=[2], pads=[1, 1])),
    "output_shape": ([1, 3, 4, 4], 2, [3, 3], dict(strides=[2, 2], output_shape=[8, 8])),
    "same_upper": ([1, 3, 4, 4], 2, [3, 3], dict(strides=[2, 2], auto_pad="SAME_UPPER")),
}


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, (shape, out, kernel, options) in FORMS.items():
        group = options.get("group", 1)
        g = Graph("transposed", f"float_{name}", "float")
        w, b = g.real([shape[1], out // group] + kernel, -0.5, 0.5), g.real([out], -1, 1)
        y = g.op("ConvTranspose", g.input("x", g.real(shape)), w, b, kernel_shape=kernel, **options)
        g.op("Relu", y, out="y")
        g.output("y")
        finish(g, {"class": "float", "atol": 1e-5, "rtol": 1e-4})

        g = Graph("transposed", f"int8_{name}", "one-step")
        xs, ws, ys = g.scale(), g.scale(0.004, 0.009, (out // group,)), np.float32(0.05)
        x = g.qdq_input("x", shape, xs, 117)
        w = g.dq_weight(g.ints([shape[1], out // group] + kernel, S8, -127, 127), ws, 0, 1)
        bias_scale = (xs * np.tile(ws, group)).astype(np.float32)
        y = g.op("ConvTranspose", x, w, g.dq_bias(g.ints([out], np.int32, -2000, 2000), bias_scale),
                 kernel_shape=kernel, **options)
        g.qdq_output(y, ys, 126)
        finish(g, {"class": "one-step", "max_step": 1, "max_fraction": 0.01})
    (HERE / "transposed.json").write_text(json.dumps(CASES, indent=1) + "\n")
    print(f"{len(CASES)} cases")


if __name__ == "__main__":
    main()
