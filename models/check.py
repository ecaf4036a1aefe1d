"""Check the folders of this zoo against their cards, with onnxruntime, Pillow and numpy.

For each model: the ONNX file is valid, eval.npz has the shape it wants and is answered as well as the card says, and
each file in samples/, prepared as the card tells, gets the label, or the text, that it is named after. Data and samples
stand beside the model, or in the folder that its card calls `sets`. Folders that hold no model are left out.

    python check.py
"""

import importlib.util
import pathlib
import re
import sys
import tomllib
import wave
from math import gcd

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from scipy.signal import resample_poly

HERE = pathlib.Path(__file__).parent
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def picture(path, card):
    """A picture file to a tensor [1, ...], for the cards here: `stretch` or `crop`, `rgb` or `grey`."""
    width, height = card["width"], card["height"]
    image = Image.open(path).convert("L" if card["colour"] == "grey" else "RGB")
    if card["fit"] == "crop":
        shorter = card.get("resize_shorter", max(width, height))
        factor = shorter / min(image.size)
        image = image.resize([round(side * factor) for side in image.size], FILTERS[card["filter"]])
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    else:
        image = image.resize((width, height), FILTERS[card["filter"]])
    pixels = np.asarray(image, np.float32).reshape(height, width, -1)
    x = (pixels - np.float32(card["mean"])) * np.float32(card["scale"])
    return (x.transpose(2, 0, 1) if card["layout"] == "nchw" else x)[None]


def module(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def compare(features, card):
    """The front end in features.py against that of the card."""
    written = [features.RATE, features.WINDOW, features.HOP, features.FFT, features.MELS]
    written += [features.LOW_HZ, features.HIGH_HZ, features.FLOOR, [features.MEAN], [features.SCALE]]
    keys = "sample_rate window hop fft mels mel_low_hz mel_high_hz floor mean scale".split()
    assert written == [card[key] for key in keys], "features.py and the card differ"


def recording(path, rate):
    """A WAV file at another rate."""
    with wave.open(str(path)) as file:
        before = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
    common = gcd(before, rate)
    return resample_poly(samples, rate // common, before // common)


def sound(path, card, folder):
    """A WAV file to a tensor [1, 1, frames, mels], by the features.py that stands in `folder`."""
    features = module(folder / "features.py")
    compare(features, card)
    assert features.CLIP == card["clip_samples"], "features.py and the card differ"
    return features.log_mel(features.fit(recording(path, features.RATE))[None])


def check_text(folder, card, session):
    """Strings of samples/, run by run as compose.py has it; the number of failures."""
    compose = module(folder / "compose.py")
    compare(compose.features, card["input"])
    written = [compose.CLIP, compose.STEP, compose.TAIL, compose.LABELS]
    told = [card["input"]["clip_samples"], card["text"]["hop"], card["text"]["tail_ms"] * compose.features.RATE // 1000]
    assert written == [*told, card["labels"]], "compose.py and the card differ"
    feed, kept = (one.name for one in session.get_inputs())
    empty = np.zeros(session.get_inputs()[1].shape, np.float32)
    failures = 0
    for path in sorted((folder / "samples").glob("*.wav")):
        state, classes = empty, []
        samples = np.clip(np.round(recording(path, compose.features.RATE)), -32768, 32767).astype(np.int16)
        for x in compose.windows(samples):
            scores, state = session.run(None, {feed: x[None], kept: state})
            classes.extend(scores.reshape(-1, len(compose.LABELS)).argmax(1))
        text = "".join(compose.LABELS[digit + 1] for digit in compose.read(classes)).strip()
        expected = path.stem.replace("-", " ")
        print(f"  {'ok  ' if text == expected else 'FAIL'} {path.name}: {text}")
        failures += text != expected
    return failures


def check(folder):
    """Print what was found; the number of failures."""
    card = tomllib.loads((folder / f"{folder.name}.toml").read_text())
    model = onnx.load(folder / f"{folder.name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    assert name == card["input"]["name"], name
    if "text" in card:
        print(f"{folder.name}: card {card['accuracy']['float']}")
        return check_text(folder, card, session)

    def answer(x):
        return session.run(None, {name: x})[0].argmax(1)

    sets = folder / card["source"].get("sets", ".")
    evaluation, calib = np.load(sets / "eval.npz"), np.load(sets / "calib.npz")
    x, y = evaluation["x"], evaluation["y"]
    assert x.dtype == calib["x"].dtype == np.float32 and y.dtype == np.int64 and x.shape[1:] == calib["x"].shape[1:]
    right = float((answer(x) == y).mean())
    told = card["accuracy"]["eval"]
    print(f"{folder.name}: card {card['accuracy']['float']}, eval.npz {right:.4f} (card {told}) of {len(y)}")
    failures = int(abs(right - told) > 0.002)
    for path in sorted((sets / "samples").iterdir()):
        if path.suffix not in (".png", ".jpg", ".wav"):
            continue
        tensor = sound(path, card["input"], sets) if path.suffix == ".wav" else picture(path, card["input"])
        scores = session.run(None, {name: tensor})[0][0]
        label = card["labels"][int(scores.argmax())]
        expected = re.sub(r"-\d+$", "", path.stem)
        print(f"  {'ok  ' if label == expected else 'FAIL'} {path.name}: {label}, score {scores.max():.2f}")
        failures += label != expected
    return failures


if __name__ == "__main__":
    cards = [card for card in sorted(HERE.glob("*/*.toml")) if card.with_suffix(".onnx").exists()]
    sys.exit(1 if sum(check(card.parent) for card in cards) else 0)
