"""`peer.py RUNTIME MODEL THREADS SECONDS`: loads the model in one runtime, times it, prints the median as JSON.

One process times one runtime, and only the runs: loading and warming up stay outside. Every runtime reads an input
that is already in its own buffer, and leaves its output in its own buffer where its interface allows that.
"""
import ctypes
import json
import pathlib
import sys
import time

import numpy as np

WARM_UP = 0.1  # seconds
LEAST_RUNS = 5


def values(shape):
    """The same everywhere, so that no runtime meets denormals or NaN that another does not."""
    return (np.arange(np.prod(shape)) % 251 / 251).astype(np.float32).reshape(shape)


def onnxruntime(path, threads):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given, made = session.get_inputs()[0], session.get_outputs()[0]
    binding = session.io_binding()
    buffers = [ort.OrtValue.ortvalue_from_numpy(values(given.shape)), ort.OrtValue.ortvalue_from_numpy(values(made.shape))]
    binding.bind_ortvalue_input(given.name, buffers[0])
    binding.bind_ortvalue_output(made.name, buffers[1])
    return lambda: session.run_with_iobinding(binding)


def openvino(path, threads):
    """Through its C interface: the Python one adds about 10 µs to each run."""
    import openvino as ov
    library = next((pathlib.Path(ov.__file__).parent / "libs").glob("libopenvino_c.so*"))
    c = ctypes.CDLL(str(library))

    def call(function, *arguments):
        status = getattr(c, function)(*arguments)
        if status:
            raise RuntimeError(f"{function}: status {status}")

    def pointer_from(function, *arguments):
        pointer = ctypes.c_void_p()
        call(function, *arguments, ctypes.byref(pointer))
        return pointer

    properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": str(threads), "INFERENCE_PRECISION_HINT": "f32"}
    words = [ctypes.c_char_p(word.encode()) for pair in properties.items() for word in pair]
    compiled = ctypes.c_void_p()
    call("ov_core_compile_model_from_file", pointer_from("ov_core_create"), path.encode(), b"CPU",
         ctypes.c_size_t(len(words)), ctypes.byref(compiled), *words)
    request = pointer_from("ov_compiled_model_create_infer_request", compiled)
    tensor = pointer_from("ov_infer_request_get_input_tensor", request)
    size = ctypes.c_size_t()
    call("ov_tensor_get_byte_size", tensor, ctypes.byref(size))
    ctypes.memmove(pointer_from("ov_tensor_data", tensor), values(size.value // 4).ctypes.data, size.value)
    infer = c.ov_infer_request_infer
    return lambda: infer(request)


def litert(path, threads):
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(path, num_threads=threads)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    interpreter.set_tensor(given["index"], values(given["shape"]))
    return interpreter.invoke


def ncnn(path, threads):
    import ncnn as runtime
    net = runtime.Net()
    net.opt.num_threads = threads
    if net.load_param(path) or net.load_model(str(pathlib.Path(path).with_suffix(".bin"))):
        raise RuntimeError(f"ncnn cannot load {path}")
    shape = json.loads(pathlib.Path(path).with_suffix(".json").read_text())["input"]
    given = runtime.Mat(values(shape[1:]))

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", given)
        if extractor.extract("out0")[0]:
            raise RuntimeError(f"ncnn cannot run {path}")

    return run


RUNTIMES = {"onnxruntime": onnxruntime, "openvino": openvino, "litert": litert, "ncnn": ncnn}


def measure(run, seconds):
    """Times of single runs in seconds, in order."""
    end = time.perf_counter() + WARM_UP
    while time.perf_counter() < end:
        run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < LEAST_RUNS:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    return sorted(times)


if __name__ == "__main__":
    name, model, thread_count, limit = sys.argv[1:]
    measured = measure(RUNTIMES[name](model, int(thread_count)), float(limit))
    print(json.dumps({"median_ms": measured[len(measured) // 2] * 1e3, "runs": len(measured)}))
