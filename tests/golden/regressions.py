"""Forms that went wrong once, with onnxruntime's answers: writes regressions/ and regressions.json.

Same environment and same layout as make.py.
"""
import json
import pathlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE / "regressions"
TYPES = {"float32": T.FLOAT, "uint8": T.UINT8, "int8": T.INT8, "int32": T.INT32, "int64": T.INT64}
CASES = []


def case(name, nodes, inputs, outputs, initializers=None, opset=17, may_fall_back=False, exact=True):
    """inputs: arrays by name; outputs: types by name; initializers: arrays by name."""
    values = [h.make_tensor_value_info(key, TYPES[str(x.dtype)], x.shape) for key, x in inputs.items()]
    results = [h.make_tensor_value_info(key, TYPES[kind], None) for key, kind in outputs.items()]
    constants = [numpy_helper.from_array(np.asarray(x), key) for key, x in (initializers or {}).items()]
    opsets = [h.make_opsetid("", opset), h.make_opsetid("com.microsoft", 1)]
    model = h.make_model(h.make_graph(nodes, name, values, results, constants), opset_imports=opsets, ir_version=9)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    run = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answers = run.run(list(outputs), inputs)
    onnx.save(model, FOLDER / f"{name}.onnx")
    arrays = {f"in.{key}": x for key, x in inputs.items()} | {f"out.{k}": v for k, v in zip(outputs, answers)}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
    CASES.append(dict(name=name, family="regressions", model=f"regressions/{name}.onnx", data=f"regressions/{name}.npz",
                      tolerance={"class": "exact"} if exact else {"class": "float", "atol": 1e-5, "rtol": 1e-5},
                      outputs=[dict(name=k, type=str(v.dtype)) for k, v in zip(outputs, answers)],
                      may_fall_back=may_fall_back))


def main():
    FOLDER.mkdir(exist_ok=True)
    random = np.random.default_rng(3)
    real = lambda *shape: random.standard_normal(shape).astype(np.float32)
    node = h.make_node
    f32, i64 = np.float32, np.int64
    case("reshape_uneven", [node("Reshape", ["x", "s"], ["y"])], {"x": real(1, 3, 4)}, {"y": "float32"},
         {"s": np.array([1, 2, 6], i64)})
    case("reshape_uneven_larger", [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("Reshape", ["t", "s"], ["y"])],
         {"x": real(1, 6, 10)}, {"y": "float32"}, {"s": np.array([1, 4, 15], i64)})
    case("uint8_transpose_cast", [node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("Cast", ["t"], ["y"], to=T.FLOAT)],
         {"x": random.integers(0, 256, (1, 3, 4, 2), dtype=np.uint8)}, {"y": "float32"}, may_fall_back=True)
    case("one_tensor_under_two_names", [node("Identity", ["x"], ["i"]), node("GreaterOrEqual", ["x", "i"], ["g"]),
                                        node("Cast", ["g"], ["y"], to=T.FLOAT)],
         {"x": real(2, 3)}, {"y": "float32"}, may_fall_back=True)
    for name, a, b in [("lower", (2, 2, 3), (1, 1, 3, 4)), ("higher", (1, 1, 2, 3), (3, 3, 4)),
                       ("single", (1, 1, 1, 2, 3), (5, 3, 4))]:
        case(f"matmul_batch_rank_{name}", [node("MatMul", ["a", "b"], ["y"])], {"a": real(*a), "b": real(*b)},
             {"y": "float32"}, exact=False)
    case("quantize_output_dtype", [node("QuantizeLinear", ["x", "s"], ["y"], output_dtype=T.INT8)],
         {"x": real(1, 12) * f32(3)}, {"y": "int8"}, {"s": f32(0.05)}, opset=21)
    case("two_clips", [node("Clip", ["x", "a", "b"], ["c"]), node("Clip", ["c", "d", "b2"], ["y"])], {"x": real(1, 9) * f32(9)},
         {"y": "float32"}, dict(a=f32(7), b=f32(8), d=f32(0), b2=f32(6)))
    w = random.integers(-127, 128, (4, 3, 1, 1), dtype=np.int8)
    case("conv_two_clips",
         [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"]),
          node("DequantizeLinear", ["w", "ws"], ["wd"]), node("Conv", ["d", "wd"], ["c"]),
          node("Clip", ["c", "a", "b"], ["e"]), node("Clip", ["e", "l", "m"], ["f"]),
          node("QuantizeLinear", ["f", "s", "z"], ["y"])],
         {"x": real(1, 3, 4, 4)}, {"y": "uint8"},
         dict(s=f32(0.05), z=np.uint8(100), w=w, ws=f32(0.02), a=f32(3), b=f32(4), l=f32(0), m=f32(2)))
    case("reduce_l1_of_no_axis", [node("ReduceL1", ["x"], ["y"], noop_with_empty_axes=1)], {"x": real(2, 3)},
         {"y": "float32"}, opset=18, may_fall_back=True)
    case("sum_beside_a_name", [node("Mul", ["x", "x"], ["y/1"]), node("Sum", ["x", "y/1", "x"], ["y"]),
                               node("Add", ["y/1", "y"], ["z"])],
         {"x": real(2, 3)}, {"y": "float32", "z": "float32"}, exact=False)
    qa, qb = (random.integers(0, 256, shape, dtype=np.uint8) for shape in ((2, 3), (3, 4)))
    case("qgemm_alpha", [node("QGemm", ["a", "s", "z", "b", "s", "z", "c", "t", "z"], ["y"], domain="com.microsoft", alpha=2.0)],
         {"a": qa}, {"y": "uint8"}, dict(b=qb, s=f32(0.02), z=np.uint8(120), t=f32(0.1),
                                        c=random.integers(-5000, 5000, 4).astype(np.int32)))
    case("pad_whole_numbers", [node("Cast", ["x"], ["i"], to=T.INT32), node("Pad", ["i", "p", "v"], ["y"])], {"x": real(2, 3) * f32(9)},
         {"y": "int32"}, dict(p=np.array([0, 1, 0, 2], i64), v=np.int32(2**31 - 1)))
    case("cast_keeps_low_bits", [node("ArgMax", ["x"], ["a"], axis=1), node("Add", ["a", "k"], ["b"]),
                                 node("Cast", ["b"], ["y"], to=T.INT32)],
         {"x": real(2, 3)}, {"y": "int32"}, dict(k=np.array([[2**32 + 5]], i64)), may_fall_back=True)
    then = h.make_graph([node("Mul", ["x", "two"], ["r"])], "then", [], [h.make_tensor_value_info("r", T.FLOAT, None)],
                        [numpy_helper.from_array(f32(2), "two")])
    otherwise = h.make_graph([node("Neg", ["x"], ["r"])], "otherwise", [], [h.make_tensor_value_info("r", T.FLOAT, None)])
    case("captured_by_if", [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"]),
                            node("If", ["c"], ["r2"], then_branch=then, else_branch=otherwise)],
         {"x": real(2, 3)}, {"y": "float32", "r2": "float32"}, dict(s=f32(0.5), z=np.uint8(128), c=np.array(True)),
         may_fall_back=True, exact=False)
    (HERE / "regressions.json").write_text(json.dumps(CASES, indent=1) + "\n")
    print(f"{len(CASES)} cases")


if __name__ == "__main__":
    main()
