"""Strings of spoken digits put together from single words and from phrases, disturbed: pauses and overlaps, speed,
loudness, tilt of the spectrum, noise. Everything follows from the random generator that is handed in."""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "digits-speech"))

import features  # noqa: E402

LABELS = ["", " zero", " one", " two", " three", " four", " five", " six", " seven", " eight", " nine"]
BLANK = 0
# A run of the net: so many rows of features, of which the first ones were there in the run before.
ROWS = 13
NEW_ROWS = 8
CLIP = features.WINDOW + (ROWS - 1) * features.HOP
STEP = NEW_ROWS * features.HOP
# Silence heard behind a sound, so that its last word is told.
TAIL = 4000


class Pool:
    """Words by speaker, and phrases: lists of (wave float64, digits)."""

    def __init__(self):
        self.words = {}
        self.phrases = []

    def add_word(self, speaker, wave, digit):
        """A word, without the zeros around it."""
        loud = np.flatnonzero(wave)
        wave = wave[loud[0] : loud[-1] + 1].astype(np.float64)
        self.words.setdefault(speaker, [[] for _ in range(10)])[digit].append(wave)

    def add_phrases(self, waves, lengths, digits):
        """Phrases that lie behind each other."""
        ends = np.cumsum(lengths)
        for end, length, said in zip(ends, lengths, digits):
            self.phrases.append((waves[end - length : end].astype(np.float64), [int(digit) for digit in said]))


def fsdd(path):
    """Pools of the takes to train with and of the held-out ones, 0 to 4, as that set's own convention has it."""
    recordings = np.load(path)
    train, test = Pool(), Pool()
    for wave, digit, name in zip(recordings["x"], recordings["y"], recordings["name"]):
        _, speaker, take = name.removesuffix(".wav").split("_")
        (test if int(take) < 5 else train).add_word(speaker, wave, digit)
    return train, test


def stretch(wave, speed):
    """Faster, and higher, by linear interpolation."""
    return np.interp(np.arange(int(len(wave) / speed)) * speed, np.arange(len(wave)), wave)


def noise(random, samples):
    """Noise of unit power whose spectrum falls with a random slope: white, pink, brown and between."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    spectrum *= np.maximum(np.arange(len(spectrum)), samples / 400) ** -random.uniform(0.0, 1.0)
    wave = np.fft.irfft(spectrum, samples)
    return wave / wave.std()


def string(pool, random, most, speed=(0.85, 1.15), gap=(-0.06, 0.5)):
    """Words of one speaker, or of several, with pauses and overlaps: wave and digits."""
    digits = [int(digit) for digit in random.integers(0, 10, random.integers(1, most + 1))]
    speakers = list(pool.words)
    speaker = speakers[random.integers(len(speakers))]
    mixed = random.random() < 0.2
    rate = random.uniform(*speed)
    longest = random.uniform(0.05, gap[1])
    out, end = np.zeros(0), 0
    for digit in digits:
        if mixed:
            speaker = speakers[random.integers(len(speakers))]
        takes = pool.words[speaker][digit]
        word = stretch(takes[random.integers(len(takes))], rate * random.uniform(0.95, 1.05))
        word = word / (np.abs(word).max() + 1e-9) * 10 ** random.uniform(-0.2, 0.0)
        start = max(0, end + int(random.uniform(gap[0], longest) * features.RATE)) if len(out) else 0
        end = start + len(word)
        out = np.pad(out, (0, max(0, end - len(out))))
        out[start:end] += word
    return out, digits


def disturb(wave, random, least_noise=8.0):
    """Silence around, tilt, loudness, and noise of `least_noise` to 40 dB below the words."""
    if random.random() < 0.5 and len(wave) > 1:
        wave = wave.copy()
        wave[1:] -= random.uniform(-0.6, 0.6) * wave[:-1]
    wave = wave * (10 ** random.uniform(2.9, 4.45) / (np.abs(wave).max() + 1e-9))
    level = np.sqrt((wave**2).mean()) or 10 ** random.uniform(1.0, 3.5)
    before, behind = (int(random.uniform(0.0, 0.8) * features.RATE) for _ in range(2))
    wave = np.pad(wave, (before, behind))
    if random.random() < 0.75:
        swell = np.interp(np.linspace(0, 4, len(wave)), range(5), random.uniform(0.4, 1.0, 5))
        wave = wave + noise(random, len(wave)) * swell * level * 10 ** (-random.uniform(least_noise, 40) / 20)
    return np.clip(np.round(wave), -32768, 32767).astype(np.int16)


def heard(wave):
    """The rows of features of a sound [1, rows, MELS]: silence before it, so that the first run is whole, and TAIL behind."""
    runs = -(-(len(wave) + TAIL) // STEP)
    padded = np.zeros(CLIP - STEP + runs * STEP, np.int16)
    padded[CLIP - STEP : CLIP - STEP + len(wave)] = wave
    return features.log_mel(padded[None])[0]


def windows(wave):
    """The inputs of the runs over a sound: float32 [runs, 1, ROWS, MELS]."""
    rows = heard(wave)[0]
    starts = np.arange((len(rows) - ROWS) // NEW_ROWS + 1)[:, None] * NEW_ROWS + np.arange(ROWS)
    return rows[starts][:, None]


def read(classes):
    """Digits out of the likeliest class of each moment: repetitions as one, blanks left out."""
    digits, last = [], BLANK
    for best in classes:
        if best != last and best != BLANK:
            digits.append(int(best) - 1)
        last = best
    return digits


def edits(said, told):
    """Insertions, deletions and substitutions that make one list the other (Levenshtein)."""
    row = list(range(len(told) + 1))
    for k, word in enumerate(said, 1):
        diagonal, row[0] = row[0], k
        for j, other in enumerate(told, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def test_strings(pool, count, seed):
    """`count` disturbed strings of 1 to 8 words out of a pool of words: waves and digits. Noise from 15 dB down."""
    random = np.random.default_rng(seed)
    strings = []
    for _ in range(count):
        wave, digits = string(pool, random, 8, speed=(1.0, 1.0), gap=(-0.03, 0.5))
        strings.append((disturb(wave, random, least_noise=15.0), digits))
    return strings
