"""Times one sentence on one thread: cygnet, onnxruntime and OpenVINO take turns, so that all see the same noise.

    python compare.py CYGNET INPUTS.npz cygnet:minilm.int8.onnx onnxruntime:minilm.onnx openvino:minilm.onnx ...

CYGNET is the program; INPUTS.npz holds one sample. Needs the packages of tests/peers/requirements.txt. Printed are the
fastest run and the median of the rounds' medians, in milliseconds.
"""

import json
import statistics
import subprocess
import sys
import time

import numpy as np

ROUNDS, RUNS = 9, 150


def timed(run):
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times), statistics.median(times)


def onnxruntime_runner(path, feeds):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: timed(lambda: session.run(None, feeds))


def openvino_runner(path, feeds):
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    request.set_tensors({name: openvino.Tensor(np.ascontiguousarray(value)) for name, value in feeds.items()})
    return lambda: timed(request.infer)


def cygnet_runner(program):
    def of(path, _):
        command = [program, "bench", path, "--threads", "1", "--runs", str(RUNS), "--json"]

        def run():
            report = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            return report["min_ms"], report["median_ms"]

        return run

    return of


def main():
    program, inputs, *wanted = sys.argv[1:]
    feeds = dict(np.load(inputs))
    makers = {"cygnet": cygnet_runner(program), "onnxruntime": onnxruntime_runner, "openvino": openvino_runner}
    runners = {name: makers[name.partition(":")[0]](name.partition(":")[2], feeds) for name in wanted}
    results = {name: [] for name in wanted}
    for _ in range(ROUNDS):
        for name, run in runners.items():
            results[name].append(run())
    for name, rounds in results.items():
        fastest, median = min(r[0] for r in rounds), statistics.median(r[1] for r in rounds)
        print(f"{name:45} fastest {fastest:.3f}, median {median:.3f}")


if __name__ == "__main__":
    main()
