"""Times every runtime on the same models and prints the comparison: see README.md beside this file."""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

import onnx

import models
import ncnn_model
import tflite

ROOT = models.ROOT
OUT = models.OUT
HERE = pathlib.Path(__file__).resolve().parent
OURS = "cygnet"
OTHERS = ["onnxruntime", "openvino", "litert", "ncnn", "tract", "rten"]
ONEDNN_NAMES = {"avx512-vnni": "AVX512_CORE_VNNI", "avx-vnni": "AVX2_VNNI", "avx2": "AVX2", "portable": "SSE41"}
# Only these can be held to an instruction set; the others take what the CPU has.
HOLDABLE = {OURS, "openvino"}
PATIENCE = 300  # seconds that one process may take


class Skip(Exception):
    """Why a runtime cannot run a model."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def busy_seconds():
    """CPU time that all processes of the machine have used, and what our finished children have."""
    user, nice, system, _idle, _wait, *interrupts = map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK"), children.ru_utime + children.ru_stime


def newer(file, source):
    return file.exists() and file.stat().st_mtime >= source.stat().st_mtime


def file_for(runtime, name, precision):
    """The model as the runtime reads it, made if need be."""
    float_onnx, int8_onnx = OUT / f"models/{name}.onnx", OUT / f"int8/{name}.int8.onnx"
    if runtime == OURS:
        return int8_onnx.with_name(f"{name}.cyg")
    if runtime == "litert":
        file = OUT / f"tflite/{name}.{precision}.tflite"
        if not newer(file, int8_onnx):
            content = tflite.convert(int8_onnx, precision == "float")
            if precision == "int8" and tflite.difference(int8_onnx, content, models.samples(name)[:1]) > 0.05:
                raise Skip("the converted model answers otherwise than onnxruntime")
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        return file
    if runtime == "ncnn":
        whole, file = OUT / f"ncnn/{name}.float.param", OUT / f"ncnn/{name}.{precision}.param"
        if not newer(whole, float_onnx):
            ncnn_model.make_float(float_onnx, whole)
        if not newer(file, whole):
            ncnn_model.make_int8(whole, file, models.samples(name))
        return file
    if precision == "float":
        return float_onnx
    if runtime in ("tract", "rten"):
        # tract wants every node to have a name of its own, rten lists of numbers unpacked, as Python writes them.
        file = int8_onnx.with_name(f"{name}.renamed.onnx")
        if not newer(file, int8_onnx):
            model = onnx.load(int8_onnx)
            for number, node in enumerate(model.graph.node):
                node.name = f"node{number}"
            onnx.save(model, file)
        return file
    return int8_onnx


def printed(command, environment=None):
    """What a program prints as JSON."""
    result = subprocess.run([str(word) for word in command], env={**os.environ, **(environment or {})},
                            capture_output=True, text=True, timeout=PATIENCE)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or [f"status {result.returncode}"]
        raise Skip(lines[0] if lines[0].lower().startswith("error") else lines[-1])
    return json.loads(result.stdout)


def cygnet(file, threads, seconds, environment):
    bench = [ROOT / "target/release/cygnet", "bench", file, "--json", "--threads", threads, "--runs"]
    guess = printed([*bench, 20], environment)["median_ms"]
    return printed([*bench, max(5, int(seconds * 1e3 / guess))], environment)


def median_once(runtime, file, threads, seconds, isa):
    """One process of a runtime: the median of its runs in milliseconds."""
    if runtime == OURS:
        return cygnet(file, threads, seconds, {"CYGNET_ISA": isa} if isa else {})["median_ms"]
    if runtime in ("tract", "rten"):
        command = [OUT / "rust/release/peers", runtime]
    else:
        command = [sys.executable, HERE / "peer.py", runtime]
    environment = {"ONEDNN_MAX_CPU_ISA": ONEDNN_NAMES[isa]} if isa else {}
    return printed([*command, file, threads, seconds], environment)["median_ms"]


def turn(runtime, name, precision, threads, given):
    """One turn of a runtime: milliseconds, and whether other programs left it too few cores."""
    file = file_for(runtime, name, precision)
    (all_before, ours_before), start = busy_seconds(), time.monotonic()
    ms = median_once(runtime, file, threads, given.seconds, given.isa)
    (all_after, ours_after), end = busy_seconds(), time.monotonic()
    cores_of_others = ((all_after - all_before) - (ours_after - ours_before)) / (end - start)
    return ms, cores_of_others > os.cpu_count() - threads + 0.15


def measure(name, threads, given):
    """Medians over the rounds, of the undisturbed turns where there are any: {runtime: {precision: ms}}."""
    entries = [(r, p) for r in given.runtimes for p in (["int8"] if r == OURS else ["int8", "float"])]
    turns = {entry: [] for entry in entries}
    for round_number in range(given.rounds):
        for entry in list(entries):
            try:
                turns[entry].append(turn(entry[0], name, entry[1], threads, given))
            except Exception as reason:  # whatever a runtime's converter throws, the others go on
                say(f"SKIPPED {entry[0]}, {name}, {entry[1]}, {threads} threads: {reason}")
                entries.remove(entry)
        say(f"{name}, threads {threads}: round {round_number + 1} of {given.rounds}")
    medians = {}
    for runtime, precision in entries:
        calm = [ms for ms, disturbed in turns[runtime, precision] if not disturbed]
        if not calm:
            say(f"DISTURBED {runtime}, {name}, {precision}, {threads} threads: other programs ran in every round")
        all_of_them = [ms for ms, _ in turns[runtime, precision]]
        medians.setdefault(runtime, {})[precision] = statistics.median(calm or all_of_them)
    return medians


def best(medians):
    """The faster precision of one runtime: (ms, precision)."""
    return min((ms, precision) for precision, ms in medians.items())


def summary(measured, rivals):
    """The best of the others, and how long we take in terms of it."""
    others = {r: best(measured[r]) for r in rivals if r in measured}
    if not others or OURS not in measured:
        return {}
    winner = min(others, key=lambda r: others[r])
    return {"best_other": winner, "ratio": best(measured[OURS])[0] / others[winner][0]}


def table(rows, runtimes, rivals):
    lines = [f"| model | {' | '.join(r if r in rivals or r == OURS else f'({r})' for r in runtimes)} | cygnet / best |",
             "|---" * (len(runtimes) + 2) + "|"]
    for name, measured in rows.items():
        cells = []
        for runtime in runtimes:
            if runtime not in measured:
                cells.append("-")
                continue
            ms, precision = best(measured[runtime])
            cells.append(f"{ms:.3g}" + (" float" if precision == "float" else ""))
        total = summary(measured, rivals)
        cells.append(f"{total['ratio']:.2f} ({total['best_other']})" if total else "-")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cpu(field):
    """A field of the first core in /proc/cpuinfo."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith(field)), "unknown")


def comparable(runtime, isa):
    """Whether the runtime uses no more than the instruction set asked for."""
    flags = cpu("flags").split()
    best_of_cpu = isa == "avx512-vnni" and "avx512_vnni" in flags and "amx_int8" not in flags
    return isa is None or best_of_cpu or runtime in HOLDABLE


def names(text):
    return text.split(",")


def options():
    a = argparse.ArgumentParser(prog="tests/peers/run", description=__doc__)
    a.add_argument("--isa", choices=ONEDNN_NAMES, help="hold cygnet and OpenVINO to this instruction set")
    a.add_argument("--models", type=names, default=list(models.MODELS), help=", ".join(models.MODELS))
    a.add_argument("--runtimes", type=names, default=[OURS, *OTHERS], help=", ".join([OURS, *OTHERS]))
    a.add_argument("--threads", type=names, default=["1", "all"], help="numbers of threads, or «all» [default: 1,all]")
    a.add_argument("--rounds", type=int, default=5, help="how often every runtime gets its turn [default: 5]")
    a.add_argument("--seconds", type=float, default=0.4, help="how long one turn measures [default: 0.4]")
    a.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    given = a.parse_args()
    for word, known in [("models", models.MODELS), ("runtimes", [OURS, *OTHERS])]:
        unknown = [name for name in getattr(given, word) if name not in known]
        if unknown:
            a.error(f"--{word}: {', '.join(unknown)}; known are {', '.join(known)}")
    return given


def main():
    given = options()
    cores = len(os.sched_getaffinity(0))
    counts = dict.fromkeys(cores if t == "all" else int(t) for t in given.threads)
    present = [name for name in given.models if models.make(name)]
    if OURS in given.runtimes:
        for name in present:
            models.plan(name)
    rivals = [r for r in given.runtimes if r != OURS and comparable(r, given.isa)]
    results = {}
    for threads in counts:
        rows = results[threads] = {name: measure(name, threads, given) for name in present}
        if not given.json:
            held = f", {given.isa} (in brackets: cannot be held to that)" if given.isa else ""
            print(f"\n{cpu('model name')}, {threads} of {cores} cores{held}; medians in ms, int8 unless said\n")
            print(table(rows, given.runtimes, rivals), flush=True)
    if given.json:
        entries = [{"threads": threads, "model": name, "ms": measured, **summary(measured, rivals)}
                   for threads, rows in results.items() for name, measured in rows.items()]
        print(json.dumps({"cpu": cpu("model name"), "isa": given.isa, "rounds": given.rounds, "results": entries}, indent=2))


if __name__ == "__main__":
    main()
