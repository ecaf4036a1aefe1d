"""Makes the golden files beside it: what Pillow, numpy, scipy and librosa compute for the inputs of the tests.

    python -m venv venv && venv/bin/pip install numpy==2.2.6 pillow==11.3.0 scipy==1.15.3 librosa==0.11.0
    venv/bin/python make.py

All files are raw little-endian arrays; the name tells the element type (u8, i8, i16, f32).
"""

from pathlib import Path

import librosa
import numpy as np
import scipy.fft
from PIL import Image

HERE = Path(__file__).parent
FILTERS = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def save(name, array):
    array = np.ascontiguousarray(array)
    kind = {"uint8": "u8", "int8": "i8", "int16": "i16", "float32": "f32"}[array.dtype.name]
    (HERE / f"{name}.{kind}").write_bytes(array.tobytes())


def picture():
    """61 x 47: gradients, a checkerboard of single pixels, hard edges and noise."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[0:47, 0:61]
    image = np.stack([x * 4, y * 5, (x * y) % 256], axis=-1).astype(np.uint8)
    image[8:20, 10:30] = np.where(((x + y) % 2 == 0)[8:20, 10:30, None], 255, 0)
    image[25:40, 35:50] = (250, 10, 130)
    image[30:47, 0:20] = random.integers(0, 256, (17, 20, 3))
    return image


def resized_crop(image, shorter, width, height, resample):
    """torchvision's Resize(shorter) and CenterCrop((height, width)) by their formulas."""
    w, h = image.size
    size = (shorter, int(shorter * h / w)) if w <= h else (int(shorter * w / h), shorter)
    image = image.resize(size, resample)
    left = int(round((size[0] - width) / 2.0))
    top = int(round((size[1] - height) / 2.0))
    return image.crop((left, top, left + width, top + height))


def letterbox(image, width, height, resample):
    w, h = image.size
    ratio = min(width / w, height / h)
    size = (int(w * ratio + 0.5), int(h * ratio + 0.5))
    canvas = Image.new("RGB", (width, height), (114, 114, 114))
    canvas.paste(image.resize(size, resample), ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas


def images():
    source = picture()
    save("picture_61x47", source)
    image = Image.fromarray(source)
    for name, resample in FILTERS.items():
        for size in [(24, 18), (80, 62), (20, 60), (61, 30), (40, 47), (7, 5)]:
            save(f"{name}_{size[0]}x{size[1]}", np.asarray(image.resize(size, resample)))
    save("grey_bicubic_24x18", np.asarray(image.convert("L").resize((24, 18), Image.BICUBIC)))
    tall = image.transpose(Image.TRANSPOSE)
    save("crop_wide_29x24", np.asarray(resized_crop(image, 31, 29, 24, Image.BILINEAR)))
    save("crop_tall_29x24", np.asarray(resized_crop(tall, 32, 29, 24, Image.BICUBIC)))
    save("crop_nearest_29x24", np.asarray(resized_crop(image, 31, 29, 24, Image.NEAREST)))
    save("crop_unresized_30x40", np.asarray(resized_crop(image, 47, 30, 40, Image.BILINEAR)))
    save("pad_wide_32x33", np.asarray(letterbox(image, 32, 33, Image.BILINEAR)))
    save("pad_tall_70x64", np.asarray(letterbox(tall, 70, 64, Image.BICUBIC)))

    mean = np.array([123.675, 116.28, 103.53], np.float32)
    scale = np.array([0.017124753, 0.017507003, 0.017429193], np.float32)
    small = np.asarray(image.resize((24, 18), Image.BILINEAR))[:, :, ::-1].astype(np.float32)
    tensor = (small - mean) * scale
    save("bgr_nchw_24x18", tensor.transpose(2, 0, 1))
    quantized = np.clip(np.rint(tensor / np.float32(0.0186)) - np.float32(14), -128, 127)
    save("bgr_nhwc_quantized_24x18", quantized.astype(np.int8))


def sound():
    """4000 samples: a chirp, silence, noise, full-scale clicks."""
    random = np.random.default_rng(2)
    t = np.arange(4000) / 8000
    y = 0.4 * np.sin(2 * np.pi * (200 * t + 2500 * t**2)) + 0.01 * random.standard_normal(4000)
    y[1500:2100] = 0
    y[2100:2600] += 0.2 * random.standard_normal(500)
    samples = np.clip(np.rint(y * 32768), -32768, 32767).astype(np.int16)
    samples[3000], samples[3500] = 32767, -32768
    return samples


def log_mel(samples, rate, window, hop, fft, floor, **filters):
    """librosa puts a window shorter than `fft` in the middle of its frame; ours begins with it."""
    y = samples.astype(np.float64) / 32768
    frames = 1 + (len(y) - window) // hop
    before = (fft - window) // 2
    y = np.pad(y, (before, fft))
    power = librosa.feature.melspectrogram(
        y=y, sr=rate, n_fft=fft, hop_length=hop, win_length=window, window="hann", center=False, power=2.0,
        dtype=np.float64, **filters,
    )
    return np.log(np.maximum(power, floor))[:, :frames].T


def sounds():
    samples = sound()
    save("sound", samples)
    htk = log_mel(samples, 8000, 256, 128, 256, 1e-6, n_mels=40, fmin=60.0, fmax=3800.0, htk=True, norm=None)
    save("log_mel_htk", htk.astype(np.float32))
    slaney = log_mel(samples, 16000, 400, 160, 512, 1e-10, n_mels=64, fmin=0.0, fmax=8000.0, htk=False, norm="slaney")
    save("log_mel_slaney", slaney.astype(np.float32))
    gaps = log_mel(samples, 8000, 50, 90, 64, 1e-6, n_mels=8, fmin=100.0, fmax=4000.0, htk=True, norm="slaney")
    save("log_mel_gaps", gaps.astype(np.float32))
    long = log_mel(samples, 8000, 2000, 500, 2048, 1e-6, n_mels=128, fmin=300.0, fmax=4000.0, htk=False, norm=None)
    save("log_mel_2048", long.astype(np.float32))
    save("mfcc", librosa.feature.mfcc(S=htk.T, n_mfcc=10, dct_type=2, norm="ortho").T.astype(np.float32))
    direct = scipy.fft.dct(htk, type=2, norm="ortho", axis=1)[:, :10]
    assert np.allclose(direct, librosa.feature.mfcc(S=htk.T, n_mfcc=10).T)


images()
sounds()
