"""Makes conventions/: what librosa, Kaldi (kaldi-native-fbank) and TensorFlow's formulas make of sound.i16.

    python -m venv venv && venv/bin/pip install numpy==2.2.6 scipy==1.15.3 librosa==0.11.0 kaldi-native-fbank==1.23.0
    venv/bin/python conventions.py

All files are raw little-endian float32, row after row. TensorFlow's formulas are those of its documentation
(tf.signal.stft, linear_to_mel_weight_matrix, mfccs_from_log_mel_spectrograms), in numpy.
"""

from pathlib import Path

import kaldi_native_fbank
import librosa
import numpy as np
import scipy.fft

HERE = Path(__file__).parent
RATE = 8000


def save(name, rows):
    (HERE / "conventions").mkdir(exist_ok=True)
    (HERE / f"conventions/{name}.f32").write_bytes(np.ascontiguousarray(rows, np.float32).tobytes())


def of_librosa(y):
    for name, pad_mode in [("zeros", "constant"), ("reflect", "reflect")]:
        settings = dict(n_fft=256, hop_length=100, win_length=200, center=True, pad_mode=pad_mode, n_mels=32)
        power = librosa.feature.melspectrogram(y=y, sr=RATE, **settings)
        decibels = librosa.power_to_db(power)
        save(f"librosa_{name}", decibels.T)
        mfcc = librosa.feature.mfcc(S=decibels, n_mfcc=13, lifter=22)
        save(f"librosa_mfcc_{name}", mfcc.T)
    magnitude = librosa.feature.melspectrogram(
        y=y, sr=RATE, n_fft=256, hop_length=128, window="hamming", center=False, power=1.0, n_mels=20, htk=True, norm=None
    )
    save("librosa_hamming_log10", np.log10(np.maximum(magnitude, 1e-5)).T)
    short = dict(n_fft=256, hop_length=100, win_length=200, center=False, n_mels=32)
    save("librosa_inside", librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=RATE, **short)).T)


def spectra(y):
    """Complex numbers as pairs, frame after frame, and the sound of them without their upper half."""
    y = y[:1600].astype(np.float64)
    for name, center in [("zeros", True), ("reflect", True), ("none", False)]:
        window = 200 if center else 256
        settings = dict(n_fft=256, hop_length=100, win_length=window, center=center)
        pad_mode = "reflect" if name == "reflect" else "constant"
        found = librosa.stft(y, pad_mode=pad_mode, **settings)
        save(f"stft_{name}", found.T.copy().view(np.float64))
        found[64:] = 0
        save(f"istft_{name}", librosa.istft(found, length=len(y), **settings))


def of_kaldi(samples):
    waves = samples.astype(np.float32)
    kinds = [("fbank", False, True), ("mfcc", False, True), ("mfcc", True, True), ("fbank", False, False)]
    for kind, energy, snip_edges in kinds:
        options = kaldi_native_fbank.MfccOptions() if kind == "mfcc" else kaldi_native_fbank.FbankOptions()
        options.frame_opts.dither = 0
        options.frame_opts.samp_freq = RATE
        options.frame_opts.snip_edges = snip_edges
        options.mel_opts.num_bins = 23
        options.use_energy = energy
        if kind == "mfcc":
            options.num_ceps = 13
        online = (kaldi_native_fbank.OnlineMfcc if kind == "mfcc" else kaldi_native_fbank.OnlineFbank)(options)
        online.accept_waveform(RATE, waves.tolist())
        online.input_finished()
        rows = [online.get_frame(frame) for frame in range(online.num_frames_ready)]
        suffix = ("_energy" if energy else "") + ("" if snip_edges else "_symmetric")
        save(f"kaldi_{kind}{suffix}", np.stack(rows))


def of_tensorflow(y):
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(240) / 240)
    frames = np.stack([y[at : at + 240] * window for at in range(0, len(y) - 239, 120)])
    magnitude = np.abs(np.fft.rfft(frames, 256))
    mel = lambda hz: 1127 * np.log1p(hz / 700)
    edges = np.linspace(mel(80.0), mel(3900.0), 42)
    bins = mel(np.linspace(0, RATE / 2, 129)[1:])[:, None]
    rising, falling = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    matrix = np.pad(np.maximum(0, np.minimum(rising, falling)), [[1, 0], [0, 0]])
    log_mel = np.log(magnitude @ matrix + 1e-6)
    save("tensorflow", log_mel)
    save("tensorflow_mfcc", (scipy.fft.dct(log_mel, type=2, axis=1) / np.sqrt(2 * 40))[:, :13])


samples = np.frombuffer((HERE / "sound.i16").read_bytes(), "<i2")
of_librosa(samples.astype(np.float32) / 32768)
spectra(samples.astype(np.float64) / 32768)
of_kaldi(samples)
of_tensorflow(samples.astype(np.float64) / 32768)
