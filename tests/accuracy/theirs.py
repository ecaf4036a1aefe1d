"""onnxruntime: the float model's answers, and those of its own int8 models, one for each setting of quantize_static.

Its users' way: quant_pre_process, then quantize_static with QDQ, uint8 activations and int8 weights.
"""
import contextlib
import functools
import io
import pathlib
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import cache

# Name: how ranges are drawn, and whether every output channel of weights has its own scale.
SETTINGS = {
    f"{method.name}, per {grain}": (method, grain == "channel")
    for method in (CalibrationMethod.MinMax, CalibrationMethod.Percentile, CalibrationMethod.Entropy)
    for grain in ("channel", "tensor")
}

# Percentile and Entropy keep every float activation of all samples at once: gigabytes for 150 photos. Where it is more
# than this, they collect in strides of samples (an option of quantize_static) and merge histograms.
COLLECTED_BYTES = 1 << 30


def session(path):
    """One thread, so that two processes are two cores."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answers(path, samples):
    """The class of each sample, one run each: where the first output is largest, the first of equals."""
    run = session(path)
    name, output = run.get_inputs()[0].name, run.get_outputs()[0].name
    return np.array([run.run([output], {name: sample[None]})[0].reshape(-1).argmax() for sample in samples])


class Reader(CalibrationDataReader):
    """Hands out samples one by one, as quantize_static asks."""

    def __init__(self, name, samples):
        self.name, self.samples = name, samples
        self.set_range(0, len(samples))

    def __len__(self):
        return len(self.samples)

    def set_range(self, start_index, end_index):
        self.items = iter(self.samples[start_index:end_index])

    def get_next(self):
        sample = next(self.items, None)
        return None if sample is None else {self.name: sample[None]}


def fixed(model, path):
    """Writes `model` for one sample at a time, shapes inferred and optimized as onnxruntime advises."""
    graph = onnx.load(model)
    for value in graph.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(graph, path)
    quant_pre_process(str(path), str(path), skip_symbolic_shape=True)


def activation_bytes(path):
    """Bytes of all float tensors of a model with inferred shapes."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    tensors = [*graph.value_info, *graph.input, *graph.output]
    return sum(4 * int(np.prod([dim.dim_value for dim in tensor.type.tensor_type.shape.dim])) for tensor in tensors)


def stride(path, count):
    """Samples to collect at once: all, or the largest divisor of `count` whose activations are few enough."""
    each = activation_bytes(path)
    divisors = [size for size in range(1, count + 1) if count % size == 0]
    return max([size for size in divisors if size * each <= COLLECTED_BYTES], default=1)


def quantized(model, calibration, setting, output):
    """Writes onnxruntime's int8 model for `setting`; gives the stride where not all samples were collected at once."""
    method, per_channel = SETTINGS[setting]
    with tempfile.TemporaryDirectory() as folder:
        prepared = pathlib.Path(folder) / "prepared.onnx"
        fixed(model, prepared)
        name = session(prepared).get_inputs()[0].name
        size = len(calibration) if method is CalibrationMethod.MinMax else stride(prepared, len(calibration))
        options = {} if size == len(calibration) else {"CalibStridedMinMax": size}
        # It prints its progress on stdout, where our table goes.
        with contextlib.redirect_stdout(io.StringIO()):
            quantize_static(str(prepared), str(output), Reader(name, calibration), quant_format=QuantFormat.QDQ,
                            per_channel=per_channel, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                            calibrate_method=method, extra_options=options)
    return None if size == len(calibration) else size


def float_answers(case):
    """{"answers"}: the float model's, by onnxruntime."""
    key = cache.key("onnxruntime float", ort.__version__, case.model, case.eval)
    return cache.kept(key, lambda: {"answers": answers(case.model, case.samples())})


def int8_answers(case, setting):
    """{"answers", "bytes", "seconds", "stride"} of onnxruntime's int8 model for `setting`."""
    key = cache.key("onnxruntime int8", ort.__version__, setting, COLLECTED_BYTES, case.model, case.calib, case.eval)
    return cache.kept(key, functools.partial(compute, case, setting))


def compute(case, setting):
    """Quantizes and runs."""
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "int8.onnx"
        start = time.perf_counter()
        size = quantized(case.model, case.calibration(), setting, output)
        seconds = time.perf_counter() - start
        return {"answers": answers(output, case.samples()), "bytes": output.stat().st_size, "seconds": seconds,
                "stride": size}


def main():
    """theirs.py MODEL CALIB.npz SETTING OUT.onnx: quantizes, and prints the seconds that it took."""
    model, calib, setting, output = sys.argv[1:]
    calibration = np.load(calib)["x"]
    start = time.perf_counter()
    quantized(model, calibration, setting, output)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
