"""Train `digits-speech` or `digits-tiny`, which hear spoken English digits (and silence) in one second of sound, and
export them to ONNX.

Both are depthwise-separable convolution nets over the log-mel picture of features.py; see NETS.

It learns from two sources: the Free Spoken Digit Dataset (six people; an .npz with `x` int16 [n, 8000], `y`, and `name`
such as `7_jackson_12.wav`) and the espeak-ng voices that render.py made. Takes 0 to 4 of each person and digit are kept
for the test, as that set's own convention has it. calib.npz and eval.npz stand beside this script, for both nets, and
hold espeak-ng voices only.

    python render.py --out voices.npz --samples samples/
    python train.py --fsdd wave.npz --voices voices.npz --write-sets
    python train.py --net digits-tiny --epochs 100 --fsdd wave.npz --voices voices.npz --out ../digits-tiny
"""

import argparse
import pathlib
import time

import numpy as np
import onnxruntime
import torch
import torch.nn as nn
import torch.nn.functional as F

import features

LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "silence"]
SILENCE = LABELS.index("silence")
HERE = pathlib.Path(__file__).parent


def conv_norm_relu(inputs, outputs, size, stride=1, groups=1):
    """A convolution with "same" padding, batch normalisation, ReLU."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def separable(inputs, outputs, stride=1):
    """Depthwise 3x3, then pointwise."""
    return nn.Sequential(
        conv_norm_relu(inputs, inputs, 3, stride, groups=inputs), conv_norm_relu(inputs, outputs, 1)
    )


class Net(nn.Module):
    """Log-mel [N, 1, 61, 40] to logits [N, 11]: layers, the average over the picture, dropout, a linear layer."""

    def __init__(self, layers, channels, dropout):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, len(LABELS))

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.layers(x), 1).flatten(1)
        return self.head(self.dropout(x))


def digits_speech():
    """About 30,000 parameters, 2.8 M multiply-accumulates."""
    layers = [
        conv_norm_relu(1, 32, 5, 2),
        separable(32, 48, 2),
        separable(48, 64),
        separable(64, 64),
        separable(64, 96, 2),
        separable(96, 96),
    ]
    return Net(layers, 96, 0.2)


def digits_tiny():
    """For 16 KiB of RAM: in int8 each layer's input, a padded copy of it, and its output take less than 10,000 bytes.

    About 8,600 parameters, 0.4 M multiply-accumulates.
    """
    layers = [
        conv_norm_relu(1, 16, 5, 4),
        separable(16, 24),
        separable(24, 64, 2),
        separable(64, 64),
    ]
    return Net(layers, 64, 0.1)


NETS = {"digits-speech": digits_speech, "digits-tiny": digits_tiny}


def noise(random, samples):
    """Noise of unit power whose spectrum falls with a random slope: white, pink, brown and between."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    bins = np.arange(len(spectrum))
    spectrum *= np.maximum(bins, 20) ** -random.uniform(0.0, 1.0)
    wave = np.fft.irfft(spectrum, samples)
    return wave / wave.std()


def silence(random):
    """A second without a word: noise, mains hum, clicks, or nothing at all."""
    wave = np.zeros(features.CLIP)
    kind = random.integers(0, 8)
    if kind == 0:
        return wave
    wave += noise(random, features.CLIP) * 10 ** random.uniform(0.0, 3.3)
    if kind <= 2:
        time_axis = np.arange(features.CLIP) / features.RATE
        for harmonic in range(1, random.integers(2, 6)):
            tone = random.uniform(45, 65) * harmonic
            wave += 10 ** random.uniform(0.5, 3.0) / harmonic * np.sin(2 * np.pi * tone * time_axis)
    if kind == 3:
        for _ in range(random.integers(1, 5)):
            at, length = random.integers(0, features.CLIP - 400), random.integers(4, 200)
            fall = np.exp(-np.arange(length) / (length / 4))
            wave[at : at + length] += random.standard_normal(length) * fall * 10 ** random.uniform(2, 3.8)
    if kind == 4:  # a level that rises and falls
        wave *= 0.05 + np.abs(np.interp(np.arange(features.CLIP), [0, 2000, 4000, 6000, 8000], random.uniform(0, 1, 5)))
    return wave


def word(samples):
    """The part of a padded clip that holds sound."""
    loud = np.flatnonzero(samples)
    return samples[loud[0] : loud[-1] + 1].astype(np.float64)


def disturb(samples, random):
    """Speed (and pitch) 0.85 to 1.15, place in the clip, loudness, tilt of the spectrum, noise."""
    speed = random.uniform(0.85, 1.15)
    count = min(int(len(samples) / speed), features.CLIP)
    wave = np.interp(np.arange(count) * speed, np.arange(len(samples)), samples)
    if random.random() < 0.5:
        tilt = random.uniform(-0.6, 0.6)
        wave[1:] -= tilt * wave[:-1]
    wave *= 10 ** random.uniform(2.9, 4.45) / (np.abs(wave).max() + 1e-9)
    out = np.zeros(features.CLIP)
    start = 0 if random.random() < 0.3 else random.integers(0, features.CLIP - count + 1)
    out[start : start + count] = wave
    if random.random() < 0.6:
        level = np.sqrt((wave**2).mean()) * 10 ** (-random.uniform(8, 40) / 20)
        hiss = noise(random, features.CLIP) * level
        # a short recording is padded with true zeros: half of the time the noise lasts only as long as the word
        if random.random() < 0.4:
            hiss[start + count :] = 0.0
        out += hiss
    return out


def quantise(wave):
    """To int16."""
    return np.clip(np.round(wave), -32768, 32767).astype(np.int16)


def batch(words, labels, index, silent, random):
    """One disturbed batch of the given words and `silent` silences: features and labels."""
    clips = [disturb(words[i], random) for i in index] + [silence(random) for _ in range(silent)]
    y = np.concatenate([labels[index], np.full(silent, SILENCE)])
    return torch.from_numpy(features.log_mel(quantise(np.stack(clips)))), torch.from_numpy(y)


def predict(model, x):
    """Class numbers of a float32 array of features."""
    model.eval()
    with torch.no_grad():
        return np.concatenate([model(torch.from_numpy(x[i : i + 256])).argmax(1).numpy() for i in range(0, len(x), 256)])


def load(args):
    """Words and labels for training, and the held-out takes of FSDD as features."""
    fsdd, voices = np.load(args.fsdd), np.load(args.voices)
    take = np.array([int(name.rsplit("_", 1)[1].split(".")[0]) for name in fsdd["name"]])
    test = take < 5
    words = [word(clip) for clip in fsdd["x"][~test]] + [word(clip) for clip in voices["train_x"]]
    labels = np.concatenate([fsdd["y"][~test], voices["train_y"]])
    return words, labels, (features.log_mel(fsdd["x"][test]), fsdd["y"][test]), voices


def train(args, words, labels, test):
    """AdamW with one cycle of the learning rate."""
    random = np.random.default_rng(args.seed)
    model = NETS[args.net]()
    print(sum(p.numel() for p in model.parameters()), "parameters")
    optimiser = torch.optim.AdamW(model.parameters(), args.rate, weight_decay=args.decay)
    steps = len(words) // args.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, args.epochs * steps, pct_start=0.2)
    for epoch in range(args.epochs):
        model.train()
        began, total = time.time(), 0.0
        order = random.permutation(len(words))
        for step in range(steps):
            index = order[step * args.batch : (step + 1) * args.batch]
            x, y = batch(words, labels, index, args.batch // 10, random)
            loss = F.cross_entropy(model(x), y, label_smoothing=0.05)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        right = float((predict(model, test[0]) == test[1]).mean())
        print(f"epoch {epoch + 1} loss {total / steps:.4f} fsdd {right:.4f} {time.time() - began:.0f} s", flush=True)
        torch.save(model.state_dict(), args.checkpoint)
    return model


def coarse(x):
    """Features rounded to 1/64, so that the .npz files stay small."""
    return np.round(x * 64) / np.float32(64)


def measure(path, x):
    """The exported model's answers, by onnxruntime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: x[i : i + 500]})[0].argmax(1) for i in range(0, len(x), 500)]
    return np.concatenate(parts)


def export(model, onnx):
    """Write the model to the path `onnx`, free in its batch."""
    torch.onnx.export(
        model.eval(),
        torch.zeros(1, 1, features.FRAMES, features.MELS),
        str(onnx),
        input_names=["log_mel"],
        output_names=["scores"],
        dynamic_axes={"log_mel": {0: "batch"}, "scores": {0: "batch"}},
        opset_version=13,
        dynamo=False,
    )


def write_sets(words, labels, voices, seed):
    """Write calib.npz (voices of the training) and eval.npz (voices never trained on)."""
    random = np.random.default_rng(seed)
    rendered = np.arange(len(words) - len(voices["train_y"]), len(words))
    x, _ = batch(words, labels, random.choice(rendered, 120, replace=False), 10, random)
    np.savez_compressed(HERE / "calib.npz", x=coarse(x.numpy()))
    spoken = [word(clip) for clip in voices["eval_x"]]
    x, y = batch(spoken, voices["eval_y"], np.arange(len(spoken)), 60, random)
    np.savez_compressed(HERE / "eval.npz", x=coarse(x.numpy()), y=y.numpy())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fsdd", required=True, help=".npz of the Free Spoken Digit Dataset: x, y, name")
    parser.add_argument("--voices", required=True, help=".npz that render.py wrote")
    parser.add_argument("--net", choices=NETS, default="digits-speech")
    parser.add_argument("--out", default=".", help="folder for NET.onnx")
    parser.add_argument("--write-sets", action="store_true", help="make calib.npz and eval.npz anew, for all nets")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=6e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.02, help="weight decay")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint", help="written after each epoch [default: NET.pt]")
    parser.add_argument("--export-only", action="store_true", help="export the checkpoint without training")
    args = parser.parse_args()
    args.checkpoint = args.checkpoint or f"{args.net}.pt"

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    words, labels, test, voices = load(args)
    if args.export_only:
        model = NETS[args.net]()
        model.load_state_dict(torch.load(args.checkpoint, weights_only=True))
    else:
        model = train(args, words, labels, test)
    if args.write_sets:
        write_sets(words, labels, voices, args.seed + 1)
    onnx = pathlib.Path(args.out) / f"{args.net}.onnx"
    export(model, onnx)
    sets = np.load(HERE / "eval.npz")
    for name, x, y in [("held-out takes", *test), ("eval.npz", sets["x"], sets["y"])]:
        print(f"{name}: {(measure(onnx, x) == y).mean():.4f} of {len(y)}")


if __name__ == "__main__":
    main()
