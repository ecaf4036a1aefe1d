"""Accuracy on the models of others, ours beside onnxruntime's.

For each model: quantized by us and by onnxruntime's quantize_static (MinMax, QDQ, uint8 activations, int8
weights per channel) on the same calibration data; float and int8 run by `cygnet` and by onnxruntime. Photos
reach `cygnet` as files, through the card; onnxruntime gets them prepared by Pillow as the card says.

Columns: top-1 in percent. «our file» is the int8 ONNX that `quantize` writes.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "../shared/data"
PROGRAMS = ROOT / "target/release"

PHOTO_CARDS = {
    "efficientnet_lite0_224": dict(width=224, height=224, colour="rgb", fit="crop", resize_shorter=256,
                                   filter="bicubic", mean=[127.0] * 3, scale=[1 / 128] * 3),
    "squeezenet_v1.1": dict(width=227, height=227, colour="bgr", fit="stretch", filter="bilinear",
                            mean=[104.0, 117.0, 123.0], scale=[1.0] * 3),
}
SPEECH = {"mlperf_kws_dscnn": "mfcc.npz", "arm_ds_cnn_s": "arm_490.npz"}


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def top1_onnxruntime(path, x, y):
    """x: samples, each with its batch axis."""
    run = session(path)
    name, output = run.get_inputs()[0].name, run.get_outputs()[0].name
    answers = [int(run.run([output], {name: sample})[0].reshape(-1).argmax()) for sample in x]
    return 100 * float(np.mean(np.array(answers) == y)), answers


def top1_cygnet(path, data, card, labels):
    command = [PROGRAMS / "cygnet", "run", path, data, "--json", "--top", "1"]
    command += ["--card", card] if card else []
    printed = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    answers = {pathlib.Path(item["name"]).name: item["top"][0]["class"] for item in printed["samples"]}
    # Files by name, the rows of an array by order.
    answers = [answers[name] for name in labels] if set(answers) == set(labels) else list(answers.values())
    return 100 * float(np.mean(np.array(answers) == np.array(list(labels.values())))), answers


class Reader(CalibrationDataReader):
    def __init__(self, name, samples):
        self.items = iter([{name: sample} for sample in samples])

    def get_next(self):
        return next(self.items, None)


def prepare_photo(path, card):
    """As Pillow and the card have it: resize, crop, (pixel - mean) * scale, NCHW."""
    picture = Image.open(path).convert("RGB")
    kind = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}[card["filter"]]
    if card["fit"] == "crop":
        width, height = picture.size
        short, shorter = min(width, height), card["resize_shorter"]
        size = tuple(shorter if side == short else int(shorter * side / short) for side in (width, height))
        picture = picture.resize(size, kind)
        left = int(round((size[0] - card["width"]) / 2))
        top = int(round((size[1] - card["height"]) / 2))
        picture = picture.crop((left, top, left + card["width"], top + card["height"]))
    else:
        picture = picture.resize((card["width"], card["height"]), kind)
    pixels = np.asarray(picture, np.float32)
    if card["colour"] == "bgr":
        pixels = pixels[..., ::-1]
    values = (pixels - np.float32(card["mean"])) * np.float32(card["scale"])
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def photos(name, work):
    card = PHOTO_CARDS[name]
    lines = [f'name = "{name}"', 'task = "classification"', "[input]", 'kind = "image"', 'layout = "nchw"']
    lines += [f"{key} = {json.dumps(value)}" for key, value in card.items()]
    path = work / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n")
    folder = DATA / "sets/photos"
    with open(folder / "eval/labels.csv") as file:
        labels = {row["file"]: int(row["label"]) for row in csv.DictReader(file)}
    evaluation = [prepare_photo(folder / "eval" / file, card) for file in labels]
    calibration = [prepare_photo(file, card) for file in sorted((folder / "calib").iterdir())]
    return dict(card=path, calib=folder / "calib", eval=folder / "eval", labels=labels, x=evaluation,
                calibration=calibration)


def speech(name, work):
    arrays = np.load(DATA / "sets/gsc_half" / SPEECH[name], allow_pickle=False)
    # Both files hold the same clips in the same order; one of them names them.
    names = np.load(DATA / "sets/gsc_half/mfcc.npz", allow_pickle=False)["name"]
    speakers = np.array([str(text)[:8] for text in names])
    known = sorted(set(speakers))
    calibrates = np.isin(speakers, known[: len(known) // 6])
    chosen = np.flatnonzero(calibrates)[:128]
    x, y = arrays["x"].astype(np.float32), arrays["y"].astype(np.int64)
    np.savez(work / f"{name}.calib.npz", x=x[chosen])
    np.savez(work / f"{name}.eval.npz", x=x[~calibrates], y=y[~calibrates])
    labels = {f"row {index}": int(label) for index, label in enumerate(y[~calibrates])}
    return dict(card=None, calib=work / f"{name}.calib.npz", eval=work / f"{name}.eval.npz", labels=labels,
                x=[sample[None] for sample in x[~calibrates]], calibration=[sample[None] for sample in x[chosen]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="only these")
    chosen = parser.parse_args().models or [*SPEECH, *PHOTO_CARDS]
    print(f"onnxruntime {ort.__version__}; top-1 in percent, agreement with float in brackets")
    print("| model | samples | float: cygnet | float: onnxruntime | int8, our file: cygnet | our file: onnxruntime |"
          " onnxruntime's own int8 |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for name in chosen:
            data = photos(name, work) if name in PHOTO_CARDS else speech(name, work)
            float_path = (DATA / "models" / f"{name}.onnx").resolve()
            y = np.array(list(data["labels"].values()))
            ours = work / f"{name}.int8.onnx"
            command = [PROGRAMS / "quantize", float_path, "--calib", data["calib"], "-o", ours]
            command += ["--card", data["card"]] if data["card"] else []
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            prepared, theirs = work / f"{name}.pre.onnx", work / f"{name}.ort.onnx"
            fixed = onnx.load(float_path)
            for value in fixed.graph.input:
                value.type.tensor_type.shape.dim[0].dim_value = 1
            onnx.save(fixed, prepared)
            quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
            input_name = session(prepared).get_inputs()[0].name
            quantize_static(str(prepared), str(theirs), Reader(input_name, data["calibration"]),
                            quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
                            weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax)
            columns = [top1_cygnet(float_path, data["eval"], data["card"], data["labels"]),
                       top1_onnxruntime(float_path, data["x"], y),
                       top1_cygnet(ours, data["eval"], data["card"], data["labels"]),
                       top1_onnxruntime(ours, data["x"], y),
                       top1_onnxruntime(theirs, data["x"], y)]
            reference = np.array(columns[1][1])
            cells = [f"{top1:.2f} ({100 * np.mean(np.array(answers) == reference):.1f})" for top1, answers in columns]
            print(f"| {name} | {len(y)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
