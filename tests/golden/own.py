"""Whole int8 models of the project beside onnxruntime: `own.py FOLDER`, FOLDER as `quantize demo -o FOLDER` leaves it.

Copies each NAME.int8.onnx to own/ and writes own/NAME.npz: `x`, the first samples of models/NAME/eval.npz, and
`y`, what onnxruntime (CPU, one thread, default optimizations) computes for each, one after the other.
"""
import pathlib
import shutil
import sys

import numpy as np
import onnxruntime as ort

HERE = pathlib.Path(__file__).resolve().parent
SAMPLES = {"fashion": 40, "objects": 40, "digits-speech": 40}


def main(folder):
    for name, count in SAMPLES.items():
        model = HERE / "own" / f"{name}.int8.onnx"
        shutil.copyfile(folder / model.name, model)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        x = np.load(HERE / f"../../models/{name}/eval.npz")["x"]
        x = x[np.linspace(0, len(x) - 1, count).astype(int)]
        entry = session.get_inputs()[0].name
        y = np.concatenate([session.run(None, {entry: sample[None]})[0] for sample in x])
        np.savez_compressed(HERE / "own" / f"{name}.npz", x=x, y=y)
        print(f"{name}: {count} samples, {len(np.unique(y.argmax(1)))} classes among the answers")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
