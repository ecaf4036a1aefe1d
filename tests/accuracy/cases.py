"""The models that are compared, each with samples to calibrate on and labelled samples to judge by.

Every set is an .npz of tensors in target/accuracy/sets, the same file for both runtimes, made once.
"""
import csv
import dataclasses
import importlib.util
import pathlib

import numpy as np

import downloads
import pictures

ROOT = downloads.ROOT
SETS = ROOT / "target/accuracy/sets"
# Models and sets of others, beside the repository.
OTHERS = ROOT / "../shared/data"


@dataclasses.dataclass(frozen=True)
class Case:
    """A float model and its two sets: `calib` holds `x`, `eval` holds `x` and `y`; the first axis is the sample."""

    name: str
    model: pathlib.Path
    calib: pathlib.Path
    eval: pathlib.Path

    def calibration(self):
        return np.load(self.calib)["x"]

    def samples(self):
        return np.load(self.eval)["x"]

    def labels(self):
        return np.load(self.eval)["y"]


def fashion():
    """The whole test set."""
    x, y = downloads.fashion_test()
    return own_calibration("fashion"), (x.astype(np.float32) * np.float32(1 / 255))[..., None], y


def objects():
    """The whole test set of CIFAR-10."""
    x, y = downloads.cifar_test()
    mean = np.float32([125.0, 123.0, 114.0])
    normal = (x.astype(np.float32) - mean) * np.float32(1 / 64)
    return own_calibration("objects"), np.ascontiguousarray(normal.transpose(0, 3, 1, 2)), y


def digits():
    """Takes 0 to 4 of the Free Spoken Digit Dataset, which were not trained on, and the voices of eval.npz."""
    folder = ROOT / "models/digits-speech"
    spec = importlib.util.spec_from_file_location("features", folder / "features.py")
    features = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(features)
    people, voices = np.load(OTHERS / "sets/fsdd/wave.npz"), np.load(folder / "eval.npz")
    held_out = np.array([int(name.rsplit("_", 1)[1].split(".")[0]) < 5 for name in people["name"]])
    x = np.concatenate([features.log_mel(people["x"][held_out]), voices["x"]])
    y = np.concatenate([people["y"][held_out].astype(np.int64), voices["y"]])
    return own_calibration("digits-speech"), x, y


def cifar():
    """The whole test set of CIFAR-10; calibrated on the first 128 training pictures."""
    x, y = downloads.cifar_test()
    return downloads.cifar_pictures("data_batch_1")[:128].astype(np.float32), x.astype(np.float32), y


def speech(file):
    """Speech Commands, split by speaker: the first sixth of the speakers calibrates (128 clips), the others judge."""
    folder = OTHERS / "sets/gsc_half"
    arrays = np.load(folder / file)
    # Both files hold the same clips in the same order; one of them names them.
    speakers = np.array([str(name)[:8] for name in np.load(folder / "mfcc.npz")["name"]])
    known = np.unique(speakers)
    calibrates = np.isin(speakers, known[: len(known) // 6])
    x, y = arrays["x"].astype(np.float32), arrays["y"].astype(np.int64)
    return x[calibrates][:128], x[~calibrates], y[~calibrates]


def photos(model):
    """150 photos calibrate, 250 others judge."""
    folder = OTHERS / "sets/photos"
    with open(folder / "eval/labels.csv") as file:
        labels = {row["file"]: int(row["label"]) for row in csv.DictReader(file)}
    calibration = pictures.tensors(model, sorted((folder / "calib").iterdir()))
    samples = pictures.tensors(model, [folder / "eval" / name for name in labels])
    return calibration, samples, np.array(list(labels.values()), np.int64)


def own_calibration(model):
    return np.load(ROOT / f"models/{model}/calib.npz")["x"]


def own_model(name):
    return ROOT / f"models/{name}/{name}.onnx"


def model_of_others(name):
    return OTHERS / f"models/{name}.onnx"


# Name: the float model, the set's name, what makes the set.
CASES = {
    "fashion": (own_model, "fashion", fashion),
    "objects": (own_model, "objects", objects),
    "digits-speech": (own_model, "digits", digits),
    "digits-tiny": (own_model, "digits", digits),
    "mlperf_ic_resnet8": (model_of_others, "cifar", cifar),
    "mlperf_kws_dscnn": (model_of_others, "speech_49x10", lambda: speech("mfcc.npz")),
    "arm_ds_cnn_s": (model_of_others, "speech_490", lambda: speech("arm_490.npz")),
    "efficientnet_lite0_224": (model_of_others, "photos_224", lambda: photos("efficientnet_lite0_224")),
    "squeezenet_v1.1": (model_of_others, "photos_227", lambda: photos("squeezenet_v1.1")),
}


def case(name):
    """The case `name`; its sets are made where they do not exist or are older than the code that makes them."""
    path, set_name, make = CASES[name]
    calib, eval = SETS / f"{set_name}.calib.npz", SETS / f"{set_name}.eval.npz"
    code = max(pathlib.Path(file).stat().st_mtime for file in (__file__, downloads.__file__, pictures.__file__))
    if not all(set.is_file() and set.stat().st_mtime > code for set in (calib, eval)):
        SETS.mkdir(parents=True, exist_ok=True)
        calibration, x, y = make()
        np.savez(calib, x=calibration)
        np.savez(eval, x=x, y=y)
    return Case(name, path(name).resolve(), calib, eval)
