"""Render strings of digits with espeak-ng, each spoken in one breath: phrases for training and evaluation (phrases.npz)
and the WAV files of samples/.

Voices and the way to speak are those of ../digits-speech/render.py, whose groups hold here too: a voice is heard in
training, or only in the evaluation, or only in samples/.

    python render.py --out phrases.npz --samples samples/
"""

import argparse
import importlib.util
import pathlib
import sys

import numpy as np

BESIDE = pathlib.Path(__file__).parent.parent / "digits-speech"
sys.path.insert(0, str(BESIDE))  # it imports features.py
SPEC = importlib.util.spec_from_file_location("voices", BESIDE / "render.py")
voices = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(voices)

# voice, digits, sample rate, words a minute, pitch
SAMPLES = [
    ("en-us+f3", "7 2 9", 16000, 150, 50),
    ("en-gb+m4", "4 0 1 5", 8000, 150, 45),
    ("en-us+anika", "3 3 8", 22050, 140, 55),
]


def phrase(voice, digits, speed, pitch, comma):
    """One breath; `comma` makes a short pause between the words. At features.RATE, int16."""
    text = (", " if comma else " ").join(voices.DIGITS[digit] for digit in digits)
    rate, samples = voices.speak(voice, text, speed, pitch)
    return voices.trim(voices.resample(samples, rate, voices.features.RATE))


def render(variants, takes, random):
    """`takes` phrases of 2 to 6 digits by each variant: waves behind each other, their lengths, digits, names."""
    waves, digits, names = [], [], []
    for variant in variants:
        for _ in range(takes):
            voice = f"{random.choice(voices.ACCENTS)}+{variant}"
            speed, pitch = int(random.integers(115, 190)), int(random.integers(20, 85))
            said = random.integers(0, 10, random.integers(2, 7))
            waves.append(phrase(voice, said, speed, pitch, random.random() < 0.3))
            digits.append("".join(map(str, said)))
            names.append(f"{voice} {speed} {pitch}")
    lengths = np.array([len(wave) for wave in waves])
    return np.concatenate(waves), lengths, np.array(digits), np.array(names)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="phrases.npz")
    parser.add_argument("--samples", help="folder for the WAV files; not written without it")
    parser.add_argument("--takes", type=int, default=20, help="phrases for training by each voice")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    if args.samples:
        folder = pathlib.Path(args.samples)
        folder.mkdir(exist_ok=True)
        for voice, digits, rate, speed, pitch in SAMPLES:
            words = [voices.DIGITS[int(digit)] for digit in digits.split()]
            before, samples = voices.speak(voice, " ".join(words), speed, pitch)
            voices.write_wav(folder / f"{'-'.join(words)}.wav", rate, voices.resample(samples, before, rate))
    random = np.random.default_rng(args.seed)
    groups = {"train": (voices.TRAINING, args.takes), "eval": (voices.EVALUATION, 12)}
    arrays = {}
    for group, (variants, takes) in groups.items():
        for key, value in zip(["wave", "lengths", "digits", "names"], render(variants, takes, random)):
            arrays[f"{group}_{key}"] = value
    np.savez_compressed(args.out, **arrays)
    print({key: value.shape for key, value in arrays.items()})


if __name__ == "__main__":
    main()
