"""Makes recurrent/ and recurrent.json: LSTM, GRU and RNN as onnxruntime computes them, or onnx's reference evaluator
where onnxruntime has no such form; with int8 weights both compute in float. See README.md."""

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import check

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE / "recurrent"
CASES = []
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def finish(name, nodes, feeds, constants, outputs, atol, reference=False, opset=17):
    """Writes a model and what it answers."""
    inputs = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in feeds.items()]
    ranks = {"Y": 4, "z": 4, "Y_h": 3, "Y_c": 3, "hn": 3}
    results = [helper.make_tensor_value_info(o, TensorProto.FLOAT, [None] * ranks[o]) for o in outputs]
    initializers = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, results, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    if reference:
        answers = dict(zip(outputs, ReferenceEvaluator(model).run(outputs, feeds)))
    else:
        answers, _ = check.run(model, feeds)
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    arrays = {f"in.{k}": v for k, v in feeds.items()} | {f"out.{k}": v for k, v in answers.items()}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
    CASES.append({"name": name, "family": "recurrent", "model": f"recurrent/{name}.onnx", "data": f"recurrent/{name}.npz",
                  "tolerance": {"class": "float", "atol": atol, "rtol": 1e-5},
                  "outputs": [{"name": o, "type": "float32"} for o in outputs], "may_fall_back": False})


def quantized(values, name, nodes, constants):
    """Weights as int8 with one scale for each row, and a DequantizeLinear."""
    scales = (np.abs(values).max(axis=(0, 2)) / 127).astype(np.float32)
    levels = np.rint(values / scales[None, :, None]).astype(np.int8)
    constants |= {f"{name}_q": levels, f"{name}_s": scales, f"{name}_z": np.zeros(len(scales), np.int8)}
    nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], [name], axis=1))


def case(name, op, steps=5, batch=2, inputs=7, hidden=6, directions=1, bias=True, initial=False, peepholes=False,
         int8=False, flat=False, outputs="Y Y_h Y_c", reference=False, batch_first=False, **attributes):
    """One layer. `initial`: states in the beginning, fed; `int8`: weights, and the input as uint8 levels."""
    rng = np.random.default_rng(len(CASES) + 900)
    rows = GATES[op] * hidden
    make = lambda *shape: (rng.standard_normal(shape) * 0.6).astype(np.float32)
    weights = {"W": make(directions, rows, inputs), "R": make(directions, rows, hidden)}
    if flat:
        # Levels of -127 and 127: the sums of 520 of them need more than 32 bits.
        weights["R"] = (np.sign(weights["R"]) * 0.03).astype(np.float32)
    nodes, constants = [], {}
    feeds = {"x": make(*((batch, steps) if batch_first else (steps, batch)), inputs)}
    names = ["x", "W", "R", "", "", "", "", ""]
    if int8:
        for key, values in weights.items():
            quantized(values, key, nodes, constants)
        constants |= {"x_s": np.float32(3 / 127), "x_z": np.uint8(128)}
        nodes.append(helper.make_node("QuantizeLinear", ["x", "x_s", "x_z"], ["x_q"]))
        nodes.append(helper.make_node("DequantizeLinear", ["x_q", "x_s", "x_z"], ["x_dq"]))
        names[0] = "x_dq"
    else:
        constants |= weights
    if bias:
        constants["B"], names[3] = make(directions, 2 * rows), "B"
    if initial:
        state = (batch, directions, hidden) if batch_first else (directions, batch, hidden)
        feeds["h"], names[5] = np.tanh(make(*state)), "h"
        if op == "LSTM":
            feeds["c"], names[6] = make(*state), "c"
    if peepholes:
        constants["P"], names[7] = make(directions, 3 * hidden), "P"
    while not names[-1]:
        names.pop()
    made = ["Y", "Y_h", "Y_c"][:3 if op == "LSTM" else 2]
    wanted = [o for o in outputs.split() if o in made]
    if batch_first:
        attributes["layout"] = 1
    made = [o if o in wanted else "" for o in made]
    nodes.append(helper.make_node(op, names, made, hidden_size=hidden, **attributes))
    # Biases are rounded to steps of 3/127 · 1.5/127, states to 2⁻¹⁵, over the steps.
    finish(name, nodes, feeds, constants, wanted, 5e-4 if int8 else 2e-6, reference)


def layers():
    case("lstm", "LSTM")
    case("lstm_one_step", "LSTM", steps=1, batch=1, hidden=16, initial=True)
    case("lstm_states", "LSTM", initial=True, hidden=20)
    case("lstm_reverse", "LSTM", direction="reverse", initial=True)
    case("lstm_both", "LSTM", directions=2, direction="bidirectional", initial=True, hidden=10)
    case("lstm_last_only", "LSTM", directions=2, direction="bidirectional", outputs="Y_h Y_c")
    case("lstm_no_bias", "LSTM", bias=False, outputs="Y_h")
    case("lstm_peepholes", "LSTM", peepholes=True, initial=True)
    case("lstm_clip", "LSTM", clip=0.4, initial=True)
    case("lstm_activations", "LSTM", activations=["HardSigmoid", "Softsign", "Elu"], activation_alpha=[0.3, 0.9],
         activation_beta=[0.45])
    case("lstm_batch_first", "LSTM", batch_first=True, initial=True, batch=3, reference=True)
    case("lstm_long", "LSTM", steps=60, batch=1, hidden=33, inputs=16)
    case("gru", "GRU")
    case("gru_states", "GRU", initial=True, hidden=20)
    case("gru_linear_before_reset", "GRU", linear_before_reset=1, initial=True)
    case("gru_both", "GRU", directions=2, direction="bidirectional", linear_before_reset=1, hidden=10)
    case("gru_reverse", "GRU", direction="reverse", initial=True, batch=3)
    case("gru_no_bias", "GRU", bias=False)
    case("gru_clip", "GRU", clip=0.4, initial=True)
    case("gru_clip_linear_before_reset", "GRU", clip=0.4, initial=True, linear_before_reset=1)
    case("gru_activations", "GRU", activations=["Sigmoid", "Relu"], initial=True)
    case("rnn", "RNN", initial=True)
    case("rnn_relu", "RNN", activations=["Relu"])
    case("rnn_clip", "RNN", clip=0.4, initial=True)
    case("rnn_both", "RNN", directions=2, direction="bidirectional", initial=True)
    case("rnn_leaky_relu", "RNN", activations=["LeakyRelu"], activation_alpha=[0.2])
    case("int8_lstm", "LSTM", int8=True, initial=True, hidden=12)
    case("int8_lstm_odd", "LSTM", int8=True, hidden=7, batch=3)
    case("int8_lstm_both", "LSTM", int8=True, directions=2, direction="bidirectional", hidden=10)
    case("int8_rnn_wide", "RNN", int8=True, hidden=520, steps=3, batch=1, inputs=3, flat=True, outputs="Y")
    case("int8_gru", "GRU", int8=True, initial=True, hidden=12)
    case("int8_gru_linear_before_reset", "GRU", int8=True, linear_before_reset=1, hidden=18)
    case("int8_rnn", "RNN", int8=True, initial=True)
    case("dequantized_rnn_relu", "RNN", int8=True, activations=["Relu"])


def branches():
    """The rank of the state decides, as exporters write it."""
    rng = np.random.default_rng(7)
    make = lambda *shape: (rng.standard_normal(shape) * 0.6).astype(np.float32)
    node = helper.make_node
    constants = {"W": make(1, 24, 5), "R": make(1, 24, 6), "three": np.int64(3), "zero": np.int64([0])}
    unsqueeze = helper.make_graph([node("Unsqueeze", ["h", "zero"], ["h3"])], "two", [],
                                  [helper.make_tensor_value_info("h3", TensorProto.FLOAT, None)])
    passed = helper.make_graph([node("Identity", ["h"], ["h_same"])], "three", [],
                               [helper.make_tensor_value_info("h_same", TensorProto.FLOAT, None)])
    nodes = [
        node("Shape", ["h"], ["h_shape"]), node("Size", ["h_shape"], ["rank"]), node("Equal", ["rank", "three"], ["is_three"]),
        node("If", ["is_three"], ["state"], then_branch=passed, else_branch=unsqueeze),
        node("LSTM", ["x", "W", "R", "", "", "state"], ["Y", "hn"], hidden_size=6),
    ]
    finish("branch_by_rank", nodes, {"x": make(3, 1, 5), "h": make(1, 6)}, constants, ["Y"], 2e-6)
    # A state that a session keeps between runs, by its names.
    nodes = [node("GRU", ["x", "W3", "R3", "", "", "h"], ["Y", "hn"], hidden_size=6)]
    constants = {"W3": make(1, 18, 5), "R3": make(1, 18, 6)}
    finish("kept_state", nodes, {"x": make(1, 1, 5), "h": make(1, 1, 6)}, constants, ["Y", "hn"], 2e-6)
    # An input that stays in the graph by a product with nothing.
    nodes = [
        node("RNN", ["x", "W1", "R1"], ["Y"], hidden_size=6), node("Mul", ["rate", "nothing"], ["none"]),
        node("Cast", ["none"], ["none_f"], to=1), node("Add", ["Y", "none_f"], ["z"]),
    ]
    constants = {"W1": make(1, 6, 5), "R1": make(1, 6, 6), "nothing": np.int64(0)}
    finish("input_times_nothing", nodes, {"x": make(3, 1, 5), "rate": np.array(16000, np.int64)}, constants, ["z"], 2e-6)


def main():
    FOLDER.mkdir(exist_ok=True)
    layers()
    branches()
    (HERE / "recurrent.json").write_text(json.dumps(CASES, indent=1) + "\n")
    print(f"{len(CASES)} cases")


if __name__ == "__main__":
    main()
