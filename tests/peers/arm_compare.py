"""Counts Arm instructions per inference under qemu: see README.md beside this file."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import models
import tflite

OUT = models.OUT
HERE = pathlib.Path(__file__).resolve().parent
MODELS = ["mlperf_vww_mobilenetv1_025", "mlperf_ic_resnet8", "mlperf_ad01_autoencoder", "mlperf_kws_dscnn", "mobilenet_v2"]
CORES = {"cortex-a72": "Pi 4, no dot product", "cortex-a76": "Pi 5, dot product"}
SETS = {"cortex-a72": "neon", "cortex-a76": "neon-dotprod"}
OURS, OTHERS = "cygnet", ["litert", "onnxruntime"]
AFTER = 2  # the tag of the mark after a run

# What /proc/cpuinfo says on those boards: some runtimes read it, and would find this machine's.
CPUINFO = {
    "cortex-a72": ("0xd08", "0x0", "fp asimd aes pmull sha1 sha2 crc32 cpuid"),
    "cortex-a76": ("0xd0b", "0x4", "fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"),
}


class Skip(Exception):
    """Why there is no count."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def cpuinfo(core):
    part, variant, features = CPUINFO[core]
    lines = ["processor\t: {}", "BogoMIPS\t: 108.00", f"Features\t: {features}", "CPU implementer\t: 0x41",
             "CPU architecture: 8", f"CPU variant\t: {variant}", f"CPU part\t: {part}", "CPU revision\t: 1", "", ""]
    return "".join("\n".join(lines).format(number) for number in range(4))


def counts(core, command, root=None, environment=None):
    """Instructions between the marks of each pair."""
    with tempfile.TemporaryDirectory() as folder:
        marks = pathlib.Path(folder, "marks")
        qemu = ["qemu-aarch64", *(["-L", root] if root else []), "-cpu", core]
        qemu += ["-plugin", f"{OUT}/arm/libcount.so,out={marks}"]
        result = subprocess.run([str(word) for word in [*qemu, *command]], env={**os.environ, **(environment or {})},
                                capture_output=True, text=True)
        if result.returncode:
            lines = result.stderr.strip().splitlines() or [f"status {result.returncode}"]
            raise Skip(lines[-1])
        pairs = [line.split() for line in marks.read_text().splitlines()]
    found = [int(count) for tag, count in pairs if int(tag) == AFTER]
    if not found:
        raise Skip("no marks: qemu_plugin counted nothing")
    return found


def other(runtime, name, core):
    """Without the cost of the marks and of one Python call."""
    root = OUT / "arm/root"
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text(cpuinfo(core))
    model = OUT / f"int8/{name}.int8.onnx"
    if runtime == "litert":
        content, model = tflite.convert(model), OUT / f"arm/{name}.tflite"
        model.write_bytes(content)
    environment = {"PYTHONHOME": f"{root}/usr", "PYTHONPATH": str(OUT / "arm/site"), "PYTHONDONTWRITEBYTECODE": "1"}
    found = counts(core, [root / "usr/bin/python3.11", HERE / "arm_peer.py", runtime, model], root, environment)
    return min(found[1:]) - found[0]


def ours(program, name, core):
    return min(counts(core, [program, models.plan(name)], environment={"CYGNET_ISA": SETS[core]}))


def table(core, rows, columns):
    lines = [f"| {core} ({CORES[core]}) | {' | '.join(columns)} | cygnet / best |", "|---" * (len(columns) + 2) + "|"]
    for name, row in rows.items():
        cells = [f"{row[c]:,}" if c in row else "-" for c in columns]
        rivals = [row[c] for c in OTHERS if c in row]
        ratio = f"{row[OURS] / min(rivals):.2f}" if rivals and OURS in row else "-"
        lines.append(f"| {name} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines)


def main():
    a = argparse.ArgumentParser(prog="tests/peers/arm", description=__doc__)
    a.add_argument("--ours", metavar="PROGRAM", type=pathlib.Path,
                   help="another program than the example `probe`, as that one: marks 1 and 2 before and after a run")
    a.add_argument("--models", type=lambda text: text.split(","), default=MODELS)
    a.add_argument("--runtimes", type=lambda text: text.split(","), default=OTHERS)
    a.add_argument("--cores", type=lambda text: text.split(","), default=list(CORES))
    a.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    given = a.parse_args()
    if not given.ours:
        say("SKIPPED cygnet: no --ours PROGRAM, its column is left out")
    columns = ([OURS] if given.ours else []) + given.runtimes
    present = [name for name in given.models if models.make(name)]
    results = {}
    for core in given.cores:
        rows = results[core] = {name: {} for name in present}
        for name, row in rows.items():
            for runtime in columns:
                try:
                    row[runtime] = ours(given.ours, name, core) if runtime == OURS else other(runtime, name, core)
                except Exception as reason:  # one that fails must not stop the others
                    say(f"SKIPPED {runtime}, {name}, {core}: {reason}")
            say(f"{core}, {name}: counted")
        if not given.json:
            print(f"\nInstructions per inference (not cycles), one thread, int8\n\n{table(core, rows, columns)}", flush=True)
    if given.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
