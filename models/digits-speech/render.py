"""Render spoken digits with espeak-ng: voices for training and evaluation (voices.npz) and the WAV files of samples/.

Every voice belongs to one of three groups: it is heard in training, or only in eval.npz, or only in samples/.

    python render.py --out voices.npz --samples samples/
"""

import argparse
import io
import pathlib
import subprocess
import wave
from math import gcd

import numpy as np
from scipy.signal import resample_poly

import features

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ACCENTS = ["en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"]
TRAINING = (
    "m1 m2 m3 m5 m6 m8 f1 f2 f4 f5 adam Alex Alicia Andrea Andy antonio aunty belinda benjamin boris caleb ed edward "
    "Gene gustave Henrique iven iven2 Jacky john Lee linda marcelo Mario max Michael miguel Mr pablo paul pedro quincy "
    "RicishayMax RicishayMax2 rob robert robosoft2 steph steph2 Storm Tweaky zac klatt klatt2 klatt4 grandma croak fast"
).split()
EVALUATION = "m7 Annie david Denis Diogo edward2 Gene2 Hugo kaukovalta Marco Mike michel Nguyen RicishayMax3 klatt3".split()
# voice, digit, sample rate, words a minute, pitch
SAMPLES = [
    ("en-us+f3", "zero", 16000, 150, 50),
    ("en-gb+m4", "one", 8000, 150, 45),
    ("en-us+anika", "three", 22050, 140, 55),
    ("en-us+norbert", "four", 16000, 150, 50),
    ("en-gb-scotland+sandro", "five", 16000, 150, 50),
    ("en-gb+shelby", "seven", 22050, 150, 50),
    ("en-us+travis", "nine", 8000, 140, 40),
]


def speak(voice, word, speed, pitch):
    """espeak-ng's own rendering: sample rate and int16 samples."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", word]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(data)) as file:
        # the header of a stream does not know its length
        return file.getframerate(), np.frombuffer(data[44:], "<i2")


def resample(samples, before, after):
    """Polyphase resampling; int16 in and out."""
    common = gcd(before, after)
    out = resample_poly(samples.astype(np.float64), after // common, before // common)
    return np.clip(np.round(out), -32768, 32767).astype(np.int16)


def trim(samples):
    """Without the silence before and after the word."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > np.abs(samples.astype(np.int32)).max() * 0.02)
    return samples[loud[0] : loud[-1] + 1]


def render(variants, takes, random):
    """`takes` renderings of each digit by each variant, with accent, speed and pitch at random."""
    clips, labels, names = [], [], []
    for variant in variants:
        for digit, word in enumerate(DIGITS):
            for take in range(takes):
                voice = f"{random.choice(ACCENTS)}+{variant}"
                speed, pitch = int(random.integers(115, 200)), int(random.integers(20, 85))
                rate, samples = speak(voice, word, speed, pitch)
                samples = trim(resample(samples, rate, features.RATE))
                clips.append(features.fit(samples))
                labels.append(digit)
                names.append(f"{word} {voice} {speed} {pitch}")
    return np.stack(clips), np.array(labels, np.int64), np.array(names)


def write_wav(path, rate, samples):
    """16-bit mono."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="voices.npz")
    parser.add_argument("--samples", help="folder for the WAV files; not written without it")
    parser.add_argument("--takes", type=int, default=5, help="training renderings of each digit by each voice")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    if args.samples:
        folder = pathlib.Path(args.samples)
        folder.mkdir(exist_ok=True)
        for voice, word, rate, speed, pitch in SAMPLES:
            before, samples = speak(voice, word, speed, pitch)
            write_wav(folder / f"{word}.wav", rate, resample(samples, before, rate))
    random = np.random.default_rng(args.seed)
    train = render(TRAINING, args.takes, random)
    test = render(EVALUATION, 3, random)
    arrays = {f"{group}_{key}": value for group, part in (("train", train), ("eval", test)) for key, value in zip("xyn", part)}
    np.savez_compressed(args.out, **arrays)
    print({key: value.shape for key, value in arrays.items()})


if __name__ == "__main__":
    main()
