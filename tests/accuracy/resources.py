"""What `quantize` takes: memory with few and with many samples, time beside onnxruntime, and whether its files repeat.

1. Peak memory (the largest resident set of the process) of quantizing efficientnet_lite0 from a folder of 150 photos,
   and of 1,500: the same ones and nine variations of each, mirrored and cut.
2. Wall time on two cores, from the start of the process to its end, with 128 samples in an .npz; beside it
   onnxruntime's quantize_static with Entropy per channel on the same cores and samples, without the start of Python.
   In turns.
3. Files of two runs, and of runs with other numbers of threads, byte by byte, at every effort.
"""
import argparse
import hashlib
import os
import pathlib
import sys
import tempfile

import numpy as np
from PIL import Image, ImageOps

import cases
import measured
import ours
import pictures

MODEL = "efficientnet_lite0_224"
FEW, MANY = 150, 1500
GROWTH, PEAK_BYTES = 0.05, 700 * 1_000_000
TIMED_SAMPLES = 128
REPEATED = ["digits-tiny", "arm_ds_cnn_s", "mlperf_ic_resnet8"]
THREADS = [1, 2, 3]


def write_variations(folder, photos, count):
    """`count` JPEG files from `photos`: each as it is, then mirrored and cut, a little more in every round."""
    folder.mkdir()
    for index in range(count):
        picture = Image.open(photos[index % len(photos)]).convert("RGB")
        round = index // len(photos)
        if round % 2 == 1:
            picture = ImageOps.mirror(picture)
        width, height = picture.size
        left, top = width * round // 40, height * round // 50
        picture.crop((left, top, width - top, height - left)).save(folder / f"{index:05}.jpg", quality=95)


def write_card(path):
    """The card that tells `quantize` how photos become the model's input."""
    wanted = pictures.PREPARATION[MODEL]
    path.write_text(f"""name = "{MODEL}"
task = "classification"
[input]
kind = "image"
layout = "nchw"
width = {wanted["width"]}
height = {wanted["height"]}
colour = "{wanted["colour"]}"
fit = "crop"
resize_shorter = {wanted["resize_shorter"]}
filter = "bicubic"
mean = {wanted["mean"]}
scale = {wanted["scale"]}
""")


def quantize(case, calib, output, *flags, cores):
    """One run of the program."""
    return measured.run([ours.QUANTIZE, case.model, "--calib", calib, "-o", output, "--json", *flags], cores)


def told(claim, holds, figures):
    print(f"{'holds         ' if holds else 'does not hold '} {claim}: {figures}", flush=True)
    return holds


def memory(case, folder, flags, cores):
    """Peaks with few and many photos, and whether they are as promised."""
    photos = sorted((cases.OTHERS / "sets/photos/calib").iterdir())
    card = folder / "card.toml"
    write_card(card)
    peaks = {}
    for count in (FEW, MANY):
        write_variations(folder / str(count), photos, count)
        run = quantize(case, folder / str(count), folder / "memory.onnx", "--card", card, *flags, cores=cores)
        peaks[count] = run.peak_bytes
        print(f"  {count:5} photos: {run.peak_bytes / 1e6:7.1f} MB, {run.seconds:6.1f} s", flush=True)
    growth = peaks[MANY] / peaks[FEW] - 1
    grows = told(f"peak memory with {MANY} samples differs by less than {100 * GROWTH:.0f} % from {FEW}",
                 abs(growth) < GROWTH, f"{100 * growth:+.1f} %")
    largest = max(peaks.values())
    return told(f"and is at most {PEAK_BYTES / 1e6:.0f} MB", largest <= PEAK_BYTES, f"{largest / 1e6:.1f} MB") and grows


def time_beside_onnxruntime(case, folder, rounds, flags, cores):
    """Wall times in turns; the least of each is compared, as the machine may have other work."""
    calib = folder / "timed.npz"
    np.savez(calib, x=case.calibration()[:TIMED_SAMPLES])
    alone = pathlib.Path(__file__).with_name("theirs.py")
    other_command = [sys.executable, alone, case.model, calib, "Entropy, per channel", folder / "theirs.onnx"]
    mine, theirs = [], []
    for turn in range(rounds):
        run = quantize(case, calib, folder / "timed.onnx", *flags, cores=cores)
        other = measured.run(other_command, cores)
        mine.append(run.seconds)
        theirs.append(float(other.printed))
        print(f"  turn {turn + 1}: ours {spent(mine[-1], run)}, onnxruntime {spent(theirs[-1], other)}", flush=True)
    claim = f"wall time with {TIMED_SAMPLES} samples is at most onnxruntime's Entropy calibration"
    figures = f"{min(mine):.1f} s, {min(theirs):.1f} s, least of {rounds}"
    return told(claim, min(mine) <= min(theirs), figures)


def spent(seconds, run):
    return f"{seconds:.1f} s (processor {run.processor_seconds:.1f} s, {run.peak_bytes / 1e6:.0f} MB)"


def digest(paths):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def repeats(folder, models, cores):
    """Whether model and plan have the same bytes in two runs and with any number of threads."""
    differing, runs = [], 0
    output, plan = folder / "repeated.onnx", folder / "repeated.cyg"
    for name in models:
        case = cases.case(name)
        for effort in ours.efforts():
            found = []
            for threads in [THREADS[1], *THREADS]:
                flags = ["--plan", plan, "--effort", effort, "--threads", threads]
                quantize(case, case.calib, output, *flags, cores=cores)
                found.append(digest([output, plan]))
                runs += 1
            if any(other != found[0] for other in found):
                differing.append(f"{name} at {effort}")
    claim = f"files repeat, in two runs and with {', '.join(map(str, THREADS))} threads, at every effort"
    return told(claim, not differing, "; ".join(differing) or f"{runs} runs of {', '.join(models)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ["memory", "time", "repeats"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--rounds", type=int, default=3, help="turns of the timing")
    parser.add_argument("--models", nargs="+", default=REPEATED, help="whose files are made again and again")
    parser.add_argument("flags", nargs="*", help="more arguments of `quantize` for memory and time, after --")
    wanted = parser.parse_args()
    case = cases.case(MODEL)
    cores = sorted(os.sched_getaffinity(0))[:2]
    all_hold = True
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if "memory" in wanted.parts:
            all_hold &= memory(case, folder, wanted.flags, cores)
        if "time" in wanted.parts:
            all_hold &= time_beside_onnxruntime(case, folder, wanted.rounds, wanted.flags, cores)
        if "repeats" in wanted.parts:
            all_hold &= repeats(folder, wanted.models, cores)
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
