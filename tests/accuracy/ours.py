"""Ours: the float model's answers by `cygnet`, and those of the plans that `quantize` makes, one for each set of flags.

Plans are judged as a device runs them: `cygnet run PLAN.cyg`.
"""
import functools
import json
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np

import cache
import downloads

# Another folder keeps a long run apart from a build that replaces the programs meanwhile.
PROGRAMS = pathlib.Path(os.environ.get("CYGNET_PROGRAMS", downloads.ROOT / "target/release"))
QUANTIZE, CYGNET = PROGRAMS / "quantize", PROGRAMS / "cygnet"


def efforts():
    """The values of `--effort`: none where `quantize` has no such flag."""
    text = subprocess.run([QUANTIZE, "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return ["fast", "normal", "best"] if "--effort" in text else []


def answers(model, samples):
    """The class of each sample in the .npz `samples`: where the first output is largest, the first of equals."""
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "outputs.npz"
        printed = subprocess.run([CYGNET, "run", model, samples, "-o", output, "--json"], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        if printed.returncode != 0:
            raise RuntimeError(f"cygnet run {model}: {printed.stderr}")
        with np.load(output) as outputs:
            first = outputs[outputs.files[0]]
        return first.reshape(len(first), -1).argmax(axis=1)


def float_answers(case):
    """{"answers"}: the float model's, by `cygnet`."""
    key = cache.key("cygnet float", CYGNET, case.model, case.eval)
    return cache.kept(key, lambda: {"answers": answers(case.model, case.eval)})


def int8_answers(case, arguments):
    """{"answers", "bytes", "plan_bytes", "ram_bytes", "seconds", "noise"} of what `quantize … ARGUMENTS` makes."""
    key = cache.key("quantize", QUANTIZE, CYGNET, *arguments, case.model, case.calib, case.eval)
    return cache.kept(key, functools.partial(compute, case, arguments))


def compute(case, arguments):
    """Quantizes and runs. Noise: the layers with the least signal to noise, in decibels."""
    with tempfile.TemporaryDirectory() as folder:
        output, plan = pathlib.Path(folder) / "int8.onnx", pathlib.Path(folder) / "int8.cyg"
        command = [QUANTIZE, case.model, "--calib", case.calib, "-o", output, "--plan", plan, "--json", *arguments]
        # The result does not depend on it, and this is one process of two.
        command += ["--threads", "1"]
        start = time.perf_counter()
        printed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - start
        if printed.returncode != 0:
            # Lines of the log start with their level in brackets; the others are the error.
            said = [line for line in printed.stderr.splitlines() if line and not line.startswith("[")]
            raise RuntimeError(f"{' '.join(map(str, arguments))}: {said[0] if said else 'failed'}")
        told = json.loads(printed.stdout)
        noise = [(layer["node"], layer["decibels"]) for layer in told["noise"][:5]]
        return {"answers": answers(plan, case.eval), "bytes": output.stat().st_size, "plan_bytes": plan.stat().st_size,
                "ram_bytes": told["memory"]["arena_bytes"], "seconds": seconds, "noise": noise}
