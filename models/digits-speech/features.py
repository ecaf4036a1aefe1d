"""The log-mel front end of `digits-speech` and `digits-tiny`, exactly as their cards describe it.

Samples are int16 / 32768. Frames are not centred: there are 1 + (CLIP - WINDOW) // HOP of them. Each is multiplied by a
periodic Hann window; the power spectrum |X|^2 goes through triangular filters, equally spaced on the HTK mel scale, with
a peak of 1; feature = (ln(max(power, FLOOR)) - MEAN) * SCALE.
"""

import numpy as np

RATE = 8000
CLIP = 8000
WINDOW = 256
HOP = 128
FFT = 256
MELS = 40
LOW_HZ = 60.0
HIGH_HZ = 3800.0
FLOOR = 1e-5
MEAN = -4.0
SCALE = 0.25
FRAMES = 1 + (CLIP - WINDOW) // HOP


def hz_to_mel(hz):
    """HTK's mel scale."""
    return 2595.0 * np.log10(1.0 + np.asarray(hz, np.float64) / 700.0)


def mel_to_hz(mel):
    """The inverse of `hz_to_mel`."""
    return 700.0 * (10.0 ** (np.asarray(mel, np.float64) / 2595.0) - 1.0)


def mel_filters():
    """Triangular filters [MELS, FFT // 2 + 1] over the bins of the power spectrum."""
    bins = np.arange(FFT // 2 + 1) * (RATE / FFT)
    edges = mel_to_hz(np.linspace(hz_to_mel(LOW_HZ), hz_to_mel(HIGH_HZ), MELS + 2))
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


HANN = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
FILTERS = mel_filters()


def log_mel(clips):
    """int16 (or float of the same range) [N, samples] to the float32 tensor [N, 1, frames, MELS]; of CLIP samples there
    are FRAMES."""
    wave = np.asarray(clips, np.float32) / np.float32(32768.0)
    frames = 1 + (wave.shape[1] - WINDOW) // HOP
    starts = np.arange(frames)[:, None] * HOP + np.arange(WINDOW)
    spectrum = np.fft.rfft(wave[:, starts] * HANN, FFT)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ FILTERS.T
    feature = (np.log(np.maximum(power, np.float32(FLOOR))) - np.float32(MEAN)) * np.float32(SCALE)
    return feature.astype(np.float32)[:, None]


def fit(wave):
    """One recording at RATE to CLIP samples: padded with zeros at the end, or cut to its loudest window."""
    wave = np.asarray(wave)
    if len(wave) <= CLIP:
        return np.pad(wave, (0, CLIP - len(wave)))
    energy = np.concatenate([[0.0], np.cumsum(wave.astype(np.float64) ** 2)])
    start = int(np.argmax(energy[CLIP:] - energy[:-CLIP]))
    return wave[start : start + CLIP]
