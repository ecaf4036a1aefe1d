"""What int8 costs a voice activity model: the area under the curve of its frames, float and int8, by loudness of noise.

    models/fetch silero-vad
    tests/accuracy/environment
    target/accuracy-environment/bin/python tests/speech/compare.py target/zoo/silero-vad.onnx [EFFORT …]

Speech are the Google Speech Commands of ../shared/data, cut up by speakers: some to calibrate on, others to measure on.
Recordings of another set are added by `--confirm FOLDER`, as those of Debian's pocketsphinx-testdata (16 kHz,
.wav and .raw). Which frames hold speech is told by the loudness of the recordings before noise is added. Needs the
programs of `cargo build --release --workspace`.
"""

import argparse
import pathlib
import shutil
import subprocess
import tempfile
import wave

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
RATE, HOP, CONTEXT = 16000, 512, 64
# Speech below this share of the loudest frame's amplitude is none, below the upper one it is not told: not counted.
SILENT, LOUD = 10 ** (-40 / 20), 10 ** (-25 / 20)
RATIOS = [None, 20, 10, 5, 0]  # decibels of speech over noise


def commands(of_calibration):
    """Words of the speakers that calibrate, or of all others."""
    with np.load(ROOT / "../shared/data/sets/gsc_half/wave.npz") as data:
        words, names, classes = data["x"], data["name"], data["classes"][data["y"]]
    speakers = sorted({name[:8] for name in names})
    chosen = set(speakers[::4]) if of_calibration else set(speakers) - set(speakers[::4])
    return [word for word, name, kind in zip(words, names, classes) if name[:8] in chosen and "silence" not in kind]


def recordings(folder):
    """All recordings under a folder, cut up at 4 s."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".raw")):
        if path.suffix == ".wav":
            with wave.open(str(path)) as file:
                data = file.readframes(file.getnframes()) if file.getframerate() == RATE else b""
        else:
            data = path.read_bytes()
        samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
        found += [samples[at : at + 4 * RATE] for at in range(0, len(samples) - RATE, 4 * RATE)]
    return found


def coloured(random, count, slope):
    """Noise of amplitude 1 whose power falls by so many powers of the frequency: 0 white, 1 pink, 2 brown."""
    spectrum = random.standard_normal(count // 2 + 1) + 1j * random.standard_normal(count // 2 + 1)
    spectrum /= np.maximum(np.arange(count // 2 + 1), 20) ** (slope / 2)
    noise = np.fft.irfft(spectrum, count)
    return noise / noise.std()


def babble(random, count, voices):
    """Many voices at once."""
    total = np.zeros(count)
    for _ in range(12):
        voice = np.concatenate([voices[index] for index in random.integers(0, len(voices), count // 8000 + 1)])
        total += np.resize(np.roll(voice, random.integers(0, len(voice))), count)
    return total / total.std()


def scene(random, clips, noise, ratio):
    """A sound of clips with silence between, and for each of its frames 1 speech, 0 none, -1 not told."""
    parts, truth = [], []
    for clip in clips:
        gap = np.zeros(int(random.uniform(0.4, 1.4) * RATE))
        clean = np.concatenate([gap, clip / 32768])
        clean = clean[: len(clean) // HOP * HOP]
        loud = np.sqrt((clean.reshape(-1, HOP) ** 2).mean(axis=1))
        loud /= loud.max() + 1e-9
        level = random.uniform(0.03, 0.3) / (np.abs(clean).max() + 1e-9)
        parts.append(clean * level)
        truth.append(np.where(loud > LOUD, 1, np.where(loud < SILENT, 0, -1)))
    clean, truth = np.concatenate(parts), np.concatenate(truth)
    if ratio is not None:
        power = np.sqrt((clean.reshape(-1, HOP)[truth == 1] ** 2).mean())
        clean = clean + noise(len(clean)) * power * 10 ** (-ratio / 20)
    return np.clip(np.rint(clean * 32768), -32768, 32767).astype(np.int16), truth


def frames(samples):
    padded = np.concatenate([np.zeros(CONTEXT, np.int16), samples]).astype(np.float32) / 32768
    return np.stack([padded[at : at + CONTEXT + HOP] for at in range(0, len(samples), HOP)])


def area(scores, truth):
    """The area under the receiver operating characteristic: how often a frame of speech scores above one of none."""
    known = truth >= 0
    scores, truth = scores[known], truth[known]
    values, places = np.unique(scores, return_inverse=True)
    speech = np.bincount(places[truth == 1], minlength=len(values))
    none = np.bincount(places[truth == 0], minlength=len(values))
    below = np.cumsum(none) - none
    return float((speech * (below + none / 2)).sum() / (speech.sum() * none.sum()))


def run(model, scenes, folder):
    """Scores of all frames of all scenes, each a sequence, on the engine."""
    inputs = [frames(samples) for samples, _ in scenes]
    start = np.concatenate([np.eye(1, len(part), dtype=np.uint8)[0] for part in inputs])
    np.savez(folder / "frames.npz", input=np.concatenate(inputs), start=start)
    program = ROOT / "target/release/cygnet"
    command = [program, "run", model, folder / "frames.npz", "--output", folder / "scores.npz", "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with np.load(folder / "scores.npz") as outputs:
        return outputs["output"].reshape(-1)


def scenes_of(clips, noises, seed):
    """For each loudness of noise some scenes, with each kind of noise."""
    random = np.random.default_rng(seed)
    made = []
    for ratio in RATIOS:
        for noise in noises(random) * 6:
            order = random.permutation(len(clips))[:10]
            made.append((ratio, *scene(random, [clips[index] for index in order], noise, ratio)))
    return made


def report(name, models, scenes, folder):
    sounds = [(samples, truth) for _, samples, truth in scenes]
    ratios = np.concatenate([np.full(len(truth), 99 if ratio is None else ratio) for ratio, _, truth in scenes])
    truth = np.concatenate([truth for _, truth in sounds])
    scores = {kind: run(model, sounds, folder) for kind, model in models.items()}
    counted = (truth >= 0).sum()
    print(f"\n{name}: {counted:,} frames, {100 * (truth == 1).sum() / counted:.0f} % speech\n")
    print("| noise | " + " | ".join(models) + " |\n| --- |" + " --- |" * len(models))
    for label, chosen in [("all", ratios > -1)] + [
        ("none" if ratio is None else f"{ratio} dB below" if ratio else "as loud", ratios == (99 if ratio is None else ratio))
        for ratio in RATIOS
    ]:
        areas = {kind: area(values[chosen], truth[chosen]) for kind, values in scores.items()}
        cells = [f"{areas['float']:.4f}"] + [f"{x:.4f} ({x - areas['float']:+.4f})" for x in list(areas.values())[1:]]
        print(f"| {label} | " + " | ".join(cells) + " |")


def write_calibration(folder):
    clips, random = commands(True), np.random.default_rng(1)
    folder.mkdir()
    for number, ratio in enumerate([None, 20, 10, 0]):
        white, order = lambda count: coloured(random, count, 1), random.permutation(len(clips))[:6]
        samples, _ = scene(random, [clips[index] for index in order], white, ratio)
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples.tobytes())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("efforts", nargs="*", default=["fast", "normal", "best"])
    parser.add_argument("--confirm", type=pathlib.Path)
    parser.add_argument("--int16", nargs="*", default=[], help="layers that compute on 16 bits")
    parser.add_argument("--float", nargs="*", default=[], help="layers that stay in float")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_calibration(folder / "calibration")
        models = {"float": arguments.model}
        for effort in arguments.efforts:
            models[effort] = folder / f"{effort}.onnx"
            command = [ROOT / "target/release/quantize", arguments.model, "--calib", folder / "calibration"]
            command += ["--card", arguments.model.with_suffix(".toml"), "--effort", effort, "-o", models[effort]]
            command += [f"--int16={layer}" for layer in arguments.int16] + [f"--float={layer}" for layer in arguments.float]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            shutil.copy(arguments.model.with_suffix(".toml"), models[effort].with_suffix(".toml"))
        words = commands(False)
        kinds = lambda random: [lambda count: coloured(random, count, 0), lambda count: coloured(random, count, 1)]
        report("Speech Commands in white and pink noise", models, scenes_of(words, kinds, 2), folder)
        if arguments.confirm:
            voices = commands(True)
            kinds = lambda random: [lambda count: coloured(random, count, 2), lambda count: babble(random, count, voices)]
            clips = recordings(arguments.confirm)
            report("Other recordings in brown noise and babble", models, scenes_of(clips, kinds, 3), folder)


main()
