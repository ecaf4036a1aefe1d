"""Makes voice/: a voice activity model of two numbers, how likely onnxruntime finds speech in the samples of
digits-speech, and the segments that follow by the rules of Silero VAD's get_speech_timestamps.

    target/accuracy-environment/bin/python tests/golden/voice.py

The model squares a frame, takes the mean and feeds it to a recurrent layer of one value: h = tanh(200 · mean + h / 2).
"""

import json
import pathlib
import wave

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper, save

HERE = pathlib.Path(__file__).parent
SAMPLES = HERE / "../../models/digits-speech/samples"
RATE, HOP, CLIP = 8000, 256, 320
WORDS = ["three", "nine", "zero", "five"]
GAP = 3000  # samples of silence in front of each word and behind the last

CARD = """name = "voice"
task = "other"
description = "A voice activity model of two numbers, for tests"

[input]
kind = "audio"
name = "sound"
sample_rate = 8000
clip_samples = 320
features = "waveform"

[speech]
hop = 256
threshold = 0.3
least_speech_ms = 150
"""


def model():
    constants = {"one": np.array([1]), "W": [[[200.0]]], "R": [[[0.5]]], "B": [[0.0, 0.0]], "flat": np.array([1, 1])}
    constants = {name: np.asarray(value) for name, value in constants.items()}
    constants = {name: v if v.dtype == np.int64 else v.astype(np.float32) for name, v in constants.items()}
    nodes = [
        helper.make_node("Mul", ["sound", "sound"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Unsqueeze", ["mean", "one"], ["moment"]),
        helper.make_node("RNN", ["moment", "W", "R", "B", "", "state"], ["", "stateN"], hidden_size=1),
        helper.make_node("Reshape", ["stateN", "flat"], ["speech"]),
    ]
    port = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        nodes,
        "voice",
        [port("sound", 1, CLIP), port("state", 1, 1, 1)],
        [port("speech", 1, 1), port("stateN", 1, 1, 1)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(made)
    return made


def sound():
    parts = []
    for word in WORDS:
        with wave.open(str(SAMPLES / f"{word}.wav")) as file:
            # Their own rate does not matter here: they are taken as sound at 8 kHz.
            assert file.getnchannels() == 1 and file.getsampwidth() == 2
            parts += [np.zeros(GAP, "<i2"), np.frombuffer(file.readframes(file.getnframes()), "<i2")]
    return np.concatenate(parts + [np.zeros(GAP, "<i2")])


def probabilities(path, samples):
    session = onnxruntime.InferenceSession(str(path))
    samples = np.pad(samples, (CLIP - HOP, -len(samples) % HOP)).astype(np.float32) / 32768
    state, found = np.zeros((1, 1, 1), np.float32), []
    for at in range(0, len(samples) - CLIP + 1, HOP):
        speech, state = session.run(None, {"sound": samples[None, at : at + CLIP], "state": state})
        found.append(float(speech[0, 0]))
    return found


def segments(found, count, hop, threshold, release, least_speech, least_silence, padding):
    """The rules of get_speech_timestamps for segments as long as they come, all lengths in samples."""
    spoken, begin, quiet = [], None, None
    for index, probability in enumerate(found):
        at = index * hop
        if probability >= threshold:
            quiet = None
            if begin is None:
                begin = at
        elif probability < release and begin is not None:
            quiet = at if quiet is None else quiet
            if at - quiet >= least_silence:
                if quiet - begin > least_speech:
                    spoken.append([begin, quiet])
                begin = quiet = None
    if begin is not None and count - begin > least_speech:
        spoken.append([begin, count])
    return [[max(0, begin - padding), min(count, end + padding)] for begin, end in spoken]


def main():
    folder = HERE / "voice"
    folder.mkdir(exist_ok=True)
    save(model(), folder / "voice.onnx")
    (folder / "voice.toml").write_text(CARD)
    samples = sound()
    found = probabilities(folder / "voice.onnx", samples)
    told = segments(found, len(samples), HOP, 0.3, 0.15, RATE * 150 // 1000, RATE // 10, RATE * 30 // 1000)
    random, cases = np.random.default_rng(5), []
    for least_speech, least_silence, padding in [(0, 0, 0), (400, 0, 0), (300, 500, 250), (1000, 900, 10), (100, 260, 130)]:
        values = np.clip(np.cumsum(random.normal(0, 0.2, 300)) % 2, 0, 1).round(3)
        values = np.where(values > 1, 2 - values, values).tolist()
        count = 300 * 100 - int(random.integers(0, 100))
        rule = [100, 0.5, 0.35, least_speech, least_silence, padding]
        cases.append({"rule": rule, "count": count, "values": values, "segments": segments(values, count, *rule)})
    content = {"words": WORDS, "gap": GAP, "probabilities": found, "segments": told, "cases": cases}
    (HERE / "voice.json").write_text(json.dumps(content) + "\n")
    print(told, [len(case["segments"]) for case in cases])


main()
