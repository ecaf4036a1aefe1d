"""Train `digits-text`, which writes down strings of spoken English digits as they come, and export it to ONNX.

Two convolutions over the log-mel picture of ../digits-speech/features.py, a linear layer, a GRU, and a score for each
word and for none (connectionist temporal classification, Graves et al., 2006), every 64 ms. Nothing looks ahead: a run
takes 13 rows, 8 of them new, and the GRU's state.

It learns from the Free Spoken Digit Dataset (an .npz with `x` int16 [n, 8000], `y`, and `name` such as
`7_jackson_12.wav`), from the espeak-ng words of ../digits-speech/render.py, put together to strings by compose.py, and
from the phrases of render.py. Takes 0 to 4 of each person and digit are kept for the test.

    python ../digits-speech/render.py --out voices.npz
    python render.py --out phrases.npz --samples samples
    python train.py --fsdd wave.npz --voices voices.npz --phrases phrases.npz --write-sets
"""

import argparse
import pathlib
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import compose
from compose import LABELS, features

HERE = pathlib.Path(__file__).parent
HIDDEN = 96


class Net(nn.Module):
    """Log-mel [N, 1, rows, 40] and a state [1, N, HIDDEN] to scores [moments, N, classes] and the state behind them.

    There are (rows - 5) // 4 moments: the convolutions are not padded in time.
    """

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 5, 2, (0, 2), bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, 2, (0, 1), groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        )  # fmt: skip
        self.gather = nn.Linear(32 * features.MELS // 4, 64)
        self.dropout = nn.Dropout(0.15)
        self.memory = nn.GRU(64, HIDDEN)
        self.head = nn.Linear(HIDDEN, len(LABELS))

    def forward(self, x, state):
        x = self.layers(x).permute(2, 0, 1, 3).flatten(2)
        x, state = self.memory(self.dropout(F.relu(self.gather(x))), state)
        return self.head(self.dropout(x)), state


def load(args):
    """The pool to train with, the held-out takes, and the phrases of voices that are not trained on."""
    train, test = compose.fsdd(args.fsdd)
    rendered, phrases = np.load(args.voices), np.load(args.phrases)
    voices = compose.Pool()
    for wave, digit, name in zip(rendered["train_x"], rendered["train_y"], rendered["train_n"]):
        # a voice is its variant, whatever the accent
        voices.add_word(name.split("+")[1].split()[0], wave, digit)
    voices.add_phrases(phrases["train_wave"], phrases["train_lengths"], phrases["train_digits"])
    evaluation = compose.Pool()
    evaluation.add_phrases(phrases["eval_wave"], phrases["eval_lengths"], phrases["eval_digits"])
    return train, voices, test, evaluation


def sample(people, voices, random):
    """One disturbed string, or noise without a word."""
    kind = random.random()
    if kind < 0.04:
        wave, digits = np.zeros(random.integers(1, 16000)), []
    elif kind < 0.54:
        wave, digits = compose.string(people, random, 8)
    elif kind < 0.74:
        wave, digits = compose.string(voices, random, 8)
    else:
        wave, digits = voices.phrases[random.integers(len(voices.phrases))]
        wave = compose.stretch(wave, random.uniform(0.85, 1.15))
    return compose.disturb(wave, random), digits


def batch(people, voices, random, size):
    """Features [size, 1, rows, 40], digits behind each other as classes, moments of each, digits of each."""
    strings = [sample(people, voices, random) for _ in range(size)]
    rows = [compose.heard(wave) for wave, _ in strings]
    longest = max(one.shape[1] for one in rows)
    silence = features.log_mel(np.zeros((1, features.WINDOW), np.int16)).flat[0]
    x = np.full((size, 1, longest, features.MELS), silence, np.float32)
    for to, one in zip(x, rows):
        to[:, : one.shape[1]] = one
    classes = torch.tensor([digit + 1 for _, digits in strings for digit in digits])
    moments = torch.tensor([(one.shape[1] - 5) // 4 for one in rows])
    return torch.from_numpy(x), classes, moments, torch.tensor([len(digits) for _, digits in strings])


def blurred(x, random):
    """With stripes of silence in time and in frequency (SpecAugment, Park et al., 2019), in half of the strings."""
    for one in x:
        if random.random() < 0.5:
            continue
        band, start = random.integers(1, 7), random.integers(0, features.MELS - 7)
        one[:, :, start : start + band] = x.mean()
        for _ in range(one.shape[1] // 100):
            long, start = random.integers(1, 6), random.integers(0, one.shape[1] - 6)
            one[:, start : start + long] = x.mean()
    return x


def word_errors(model, strings):
    """Share of words that are wrong, missing or too many."""
    model.eval()
    wrong = words = 0
    with torch.no_grad():
        for wave, digits in strings:
            scores, _ = model(torch.from_numpy(compose.heard(wave)[None]), torch.zeros(1, 1, HIDDEN))
            wrong += compose.edits(digits, compose.read(scores[:, 0].argmax(1).numpy()))
            words += len(digits)
    return wrong / words


def train(args, people, voices, tests):
    """AdamW with one cycle of the learning rate."""
    random = np.random.default_rng(args.seed)
    model = Net()
    if args.resume:
        model.load_state_dict(torch.load(args.resume, weights_only=True))
    print(sum(p.numel() for p in model.parameters()), "parameters")
    optimiser = torch.optim.AdamW(model.parameters(), args.rate, weight_decay=args.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, args.steps, pct_start=0.15)
    began, total, prepared = time.time(), 0.0, []
    for step in range(1, args.steps + 1):
        model.train()
        # to make strings takes longer than to learn from them: each batch is met several times, blurred anew
        if len(prepared) < 40 or step % args.turns == 0:
            prepared = prepared[-79:] + [batch(people, voices, random, args.batch)]
        x, classes, moments, counts = prepared[random.integers(len(prepared))]
        scores, _ = model(blurred(x.clone(), random), torch.zeros(1, len(x), HIDDEN))
        loss = F.ctc_loss(scores.log_softmax(2), classes, moments, counts, compose.BLANK, zero_infinity=True)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        total += loss.item()
        if step % 250 == 0 or step == args.steps:
            errors = ", ".join(f"{name} {word_errors(model, strings):.4f}" for name, strings in tests.items())
            print(f"step {step} loss {total / 250:.4f} {errors} {time.time() - began:.0f} s", flush=True)
            total = 0.0
            torch.save(model.state_dict(), args.checkpoint)
    return model


def export(model, onnx):
    """Write the model of one run to the path `onnx`."""
    torch.onnx.export(
        model.eval(),
        (torch.zeros(1, 1, compose.ROWS, features.MELS), torch.zeros(1, 1, HIDDEN)),
        str(onnx),
        input_names=["log_mel", "state"],
        output_names=["scores", "stateN"],
        opset_version=14,
        dynamo=False,
    )


def coarse(x):
    """Features rounded to 1/64, so that the .npz files stay small."""
    return np.round(x * 64) / np.float32(64)


def write_sets(voices, evaluation, seed):
    """calib.npz: strings of the training's espeak-ng voices; eval.npz: phrases of voices never trained on."""
    random = np.random.default_rng(seed)
    strings = [compose.disturb(compose.string(voices, random, 6)[0], random) for _ in range(10)]
    strings += [compose.disturb(voices.phrases[k][0], random) for k in random.choice(len(voices.phrases), 6, False)]
    save(HERE / "calib.npz", strings)
    chosen = random.choice(len(evaluation.phrases), 24, False)
    strings = [compose.disturb(evaluation.phrases[k][0], random, least_noise=15.0) for k in chosen]
    save(HERE / "eval.npz", strings)


def save(path, strings):
    """The runs of all strings, and where each string starts."""
    runs = [coarse(compose.windows(wave)) for wave in strings]
    start = np.concatenate([np.arange(len(one)) == 0 for one in runs])
    np.savez_compressed(path, x=np.concatenate(runs), start=start.astype(np.float32))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fsdd", required=True, help=".npz of the Free Spoken Digit Dataset: x, y, name")
    parser.add_argument("--voices", required=True, help=".npz that ../digits-speech/render.py wrote")
    parser.add_argument("--phrases", required=True, help=".npz that render.py wrote")
    parser.add_argument("--write-sets", action="store_true", help="make calib.npz and eval.npz anew")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--turns", type=int, default=4, help="steps for each batch that is made")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=4e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.02, help="weight decay")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint", default="digits-text.pt", help="written every 250 steps")
    parser.add_argument("--resume", help="weights to begin with")
    parser.add_argument("--export-only", action="store_true", help="export the checkpoint without training")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    people, voices, test, evaluation = load(args)
    random = np.random.default_rng(args.seed + 1)
    unheard = [(compose.disturb(wave, random, least_noise=15.0), digits) for wave, digits in evaluation.phrases]
    tests = {"held-out takes": compose.test_strings(test, 120, args.seed + 2), "unheard voices": unheard[:60]}
    if args.export_only:
        model = Net()
        model.load_state_dict(torch.load(args.checkpoint, weights_only=True))
    else:
        model = train(args, people, voices, tests)
    if args.write_sets:
        write_sets(voices, evaluation, args.seed + 3)
    export(model, HERE / "digits-text.onnx")
    tests = {"held-out takes": compose.test_strings(test, 500, args.seed + 4), "unheard voices": unheard}
    for name, strings in tests.items():
        words = sum(len(digits) for _, digits in strings)
        print(f"{name}: {100 * word_errors(model, strings):.2f} % of {words} words are wrong, missing or too many")


if __name__ == "__main__":
    main()
