"""What int8 costs recurrent nets: the cosine of what a small GRU, LSTM and RNN answer in int8 and in float.

    tests/accuracy/environment
    target/accuracy-environment/bin/python tests/speech/gru.py [EFFORT …]

Each net reads 40 values a moment, 50 moments, and answers 12 values from its last state through a dense layer. Weights are
drawn from the distributions that training begins with (uniform within one over the root of the hidden size), inputs are
sums of slow waves, as log-mel pictures are. Needs the programs of `cargo build --release --workspace`.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

ROOT = pathlib.Path(__file__).resolve().parents[2]
INPUTS, HIDDEN, CLASSES, MOMENTS = 40, 64, 12, 50
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def net(kind, linear_before_reset, gain, path):
    random = np.random.default_rng(7)
    gates = GATES[kind]

    def drawn(*shape):
        return random.uniform(-gain, gain, shape) / np.sqrt(HIDDEN)

    weights = {
        "W": drawn(1, gates * HIDDEN, INPUTS),
        "R": drawn(1, gates * HIDDEN, HIDDEN),
        "B": drawn(1, 2 * gates * HIDDEN),
        "D": drawn(HIDDEN, CLASSES),
        "d": drawn(CLASSES),
    }
    extra = {"linear_before_reset": 1} if linear_before_reset else {}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(kind, ["t", "W", "R", "B"], ["y", "h"], hidden_size=HIDDEN, **extra),
        helper.make_node("Squeeze", ["h", "axis"], ["s"]),
        helper.make_node("Gemm", ["s", "D", "d"], ["scores"]),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([0]), "axis"))
    ports = [("x", [1, MOMENTS, INPUTS]), ("scores", [1, CLASSES])]
    x, scores = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports]
    model = helper.make_model(
        helper.make_graph(nodes, kind, [x], [scores], tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    checker.check_model(model)
    save(model, path)


def pictures(seed, count):
    """Slow waves along both axes, between -4 and 4 for the most part."""
    random = np.random.default_rng(seed)
    moments, bands = np.mgrid[0:MOMENTS, 0:INPUTS]
    made = np.zeros((count, MOMENTS, INPUTS))
    for picture in made:
        for _ in range(8):
            along, across, phase = random.uniform(0, 0.5), random.uniform(0, 0.4), random.uniform(0, 2 * np.pi)
            picture += random.normal() * np.sin(along * moments + across * bands + phase)
        picture += 0.3 * random.standard_normal(picture.shape)
    return made.astype(np.float32)


def answers(model, inputs, folder):
    command = [ROOT / "target/release/cygnet", "run", model, inputs, "--output", folder / "out.npz", "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with np.load(folder / "out.npz") as outputs:
        return outputs["scores"].reshape(-1, CLASSES)


def main(*efforts):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.savez(folder / "calib.npz", x=pictures(1, 100))
        np.savez(folder / "eval.npz", x=pictures(2, 400))
        print("| net | weights up to | effort | cosine, least | cosine, mean | bytes int8 / float |")
        print("| --- | --- | --- | --- | --- | --- |")
        for kind, linear_before_reset in [("GRU", False), ("GRU", True), ("LSTM", False), ("RNN", False)]:
            for gain in [1, 4]:
                model = folder / "net.onnx"
                net(kind, linear_before_reset, gain, model)
                wanted = answers(model, folder / "eval.npz", folder)
                for effort in efforts or ["fast", "normal"]:
                    small = folder / "small.onnx"
                    command = [ROOT / "target/release/quantize", model, "--calib", folder / "calib.npz", "-o", small]
                    subprocess.run([*command, "--effort", effort], check=True, capture_output=True)
                    found = answers(small, folder / "eval.npz", folder)
                    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
                    cosine = (wanted * found).sum(axis=1) / lengths
                    share = small.stat().st_size / model.stat().st_size
                    name = f"{kind}, linear before reset" if linear_before_reset else kind
                    print(f"| {name} | {gain} | {effort} | {cosine.min():.4f} | {cosine.mean():.4f} | {share:.2f} |")


main(*sys.argv[1:])
