"""Words that models write down wrongly: of strings put together from recordings of people that were held out from
training, and of phrases that espeak-ng speaks with voices that were held out.

    python measure.py --cygnet ../../target/release/cygnet --fsdd wave.npz --phrases phrases.npz digits-text.onnx …

The strings are the same each time. `wave.npz` and `phrases.npz` are those that train.py takes; without one of them its
part is left out, and it is said so.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import wave

import numpy as np

import compose

SEED = 5


def strings(args):
    """The sets by name: lists of (wave, digits)."""
    sets = {}
    if args.fsdd:
        sets["held-out takes"] = compose.test_strings(compose.fsdd(args.fsdd)[1], args.count, SEED)
    if args.phrases:
        phrases, random = np.load(args.phrases), np.random.default_rng(SEED)
        pool = compose.Pool()
        pool.add_phrases(phrases["eval_wave"], phrases["eval_lengths"], phrases["eval_digits"])
        sets["unheard voices"] = [(compose.disturb(one, random, least_noise=15.0), said) for one, said in pool.phrases]
    return sets


def write(folder, waves):
    """Numbered WAV files."""
    for number, samples in enumerate(waves):
        with wave.open(str(folder / f"{number:05}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(compose.features.RATE)
            file.writeframes(samples.astype("<i2").tobytes())


def errors(cygnet, model, folder, said):
    """Wrong, missing and superfluous words, and the words that were said."""
    command = [cygnet, "run", model, str(folder), "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    words = [label.strip() for label in compose.LABELS[1:]]
    told = [[words.index(word) for word in sample["read"]["text"].split()] for sample in report["samples"]]
    assert len(told) == len(said), f"{len(told)} answers for {len(said)} recordings"
    return sum(map(compose.edits, said, told)), sum(map(len, said))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="MODEL.onnx or MODEL.cyg, each with its card")
    parser.add_argument("--cygnet", default="cygnet", help="the program")
    parser.add_argument("--fsdd", help=".npz of the Free Spoken Digit Dataset")
    parser.add_argument("--phrases", help=".npz that render.py wrote")
    parser.add_argument("--count", type=int, default=500, help="strings of held-out takes")
    args = parser.parse_args()
    for option in ["fsdd", "phrases"]:
        if not getattr(args, option):
            print(f"LEFT OUT: without --{option} its strings are not measured", file=sys.stderr)
    for name, chosen in strings(args).items():
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            write(folder, [samples for samples, _ in chosen])
            for model in args.models:
                wrong, words = errors(args.cygnet, model, folder, [said for _, said in chosen])
                print(f"{name}, {pathlib.Path(model).name}: {100 * wrong / words:.2f} % ({wrong} of {words} words)")


if __name__ == "__main__":
    main()
