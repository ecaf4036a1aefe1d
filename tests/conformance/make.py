"""Writes ONNX's own node tests as models and arrays: make.py FOLDER

FOLDER gets `NAME.onnx`, `NAME.npz` (`in.<input>`, `out.<output>`) and `cases.json`: a list of objects with `name`,
`operator`, `expanded` (the operator's definition as a function of others stands in its place), `rtol`, `atol`, and
`unfit` where the case's data are no arrays of numbers.
"""

import json
import pathlib
import sys
import warnings

import numpy
import onnx
from onnx.backend.test.case.node import collect_testcases


def array(value):
    """The value as an array that NumPy's own format holds, or None."""
    if isinstance(value, onnx.TensorProto):
        value = onnx.numpy_helper.to_array(value)
    if not isinstance(value, (numpy.ndarray, numpy.generic)):
        return None
    value = numpy.asarray(value)
    return value if value.dtype.kind in "biuf" and value.dtype.isbuiltin == 1 else None


def kind(value_info):
    """The declared type: `tensor`, `sequence`, …"""
    return value_info.type.WhichOneof("value").removesuffix("_type")


def write(case, folder):
    """Writes one case and returns its entry in the list."""
    graph = case.model.graph
    base, _, expanded = case.name.partition("_expanded")
    entry = {"name": case.name, "base": base, "expanded": bool(expanded or case.name.endswith("_expanded"))}
    entry |= {"rtol": case.rtol, "atol": case.atol}
    if not entry["expanded"]:
        entry["operator"] = graph.node[0].op_type
        entry["domain"] = graph.node[0].domain
    (folder / f"{case.name}.onnx").write_bytes(case.model.SerializeToString())
    (inputs, outputs) = case.data_sets[0]
    arrays = {}
    for prefix, infos, values in (("in", graph.input, inputs), ("out", graph.output, outputs)):
        for info, value in zip(infos, values):
            name = f"{prefix}.{info.name}"
            arrays[name] = array(value) if kind(info) == "tensor" else None
            if arrays[name] is None:
                elem = onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type).lower()
                entry["unfit"] = f"{info.name} is a {kind(info)}" + (f" of {elem}" if kind(info) == "tensor" else "")
                return entry
    numpy.savez(folder / f"{case.name}.npz", **arrays)
    return entry


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = sorted(collect_testcases(None), key=lambda case: case.name)
    entries = [write(case, folder) for case in cases]
    operators = {entry["name"]: (entry["operator"], entry["domain"]) for entry in entries if not entry["expanded"]}
    for entry in entries:
        entry["operator"], entry["domain"] = operators[entry.pop("base")]
    (folder / "cases.json").write_text(json.dumps(entries, indent=1))
    print(f"{len(entries)} cases of onnx {onnx.__version__} in {folder}")


main(pathlib.Path(sys.argv[1]))
