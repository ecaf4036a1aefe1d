"""Makes the golden cases: ONNX models with inputs, and the outputs that onnxruntime computes. See README.md."""

import importlib.metadata
import json
import pathlib
import shutil
import sys
import warnings

import numpy as np

import check
import floats
import floats_shape
import narrow
import qdq_conv
import qdq_graph
import qdq_other
import qlinear
import transformer
import whole

HERE = pathlib.Path(__file__).resolve().parent
FAMILIES = {
    "qdq_conv": [qdq_conv], "qlinear": [qlinear], "qdq_other": [qdq_other, qdq_graph],
    "narrow": [narrow], "float": [floats, floats_shape],
    "transformer": [transformer], "whole": [whole],
}
LIMIT = 1_500_000


def tolerance(case, entry_results, fused, opinion):
    """The tolerance written for a case, and a note when something deserves a look."""
    extra = case.extra
    if case.tolerance == "float":
        return {"class": "float", "atol": extra.get("atol", 1e-5), "rtol": extra.get("rtol", 1e-4)}, compare_float(
            case, entry_results, opinion, extra)
    elements = sum(r.size for r in entry_results.values())
    note, worst, different = "", 0, 0
    if isinstance(opinion, dict):
        distances = [check.steps(e, entry_results[e["name"]], opinion[e["name"]]) for e in case.outputs]
        worst, different = max(int(d.max()) for d in distances), sum(int((d > 0).sum()) for d in distances)
        note = f"{different}/{elements} differ from the onnx reference, at most {worst} steps" if different else ""
    elif opinion:
        note = f"no onnx reference: {opinion}"
    if case.tolerance == "exact" or (case.tolerance == "integer" and fused):
        return {"class": "exact"}, note
    # Room for twice what onnxruntime itself differs from onnx's reference, and never less than two elements.
    fraction = max(extra.get("fraction", 0.001), 2 * different / elements, 2 / elements)
    return {"class": "one-step", "max_step": max(1, worst),
            "max_fraction": min(1.0, float(np.ceil(fraction * 1e4) / 1e4))}, note


def compare_float(case, results, opinion, extra):
    if not isinstance(opinion, dict):
        return f"no onnx reference: {opinion}" if opinion else ""
    for entry in case.outputs:
        a, b = results[entry["name"]], opinion[entry["name"]]
        if a.shape != b.shape:
            return f"shape {a.shape}, onnx reference {b.shape}"
        if not np.allclose(a, b, extra.get("rtol", 1e-4), extra.get("atol", 1e-5), equal_nan=True):
            error = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max()
            return f"differs from the onnx reference by {error:.3g}"
    return ""


def store(path, feeds, results):
    arrays = {f"in.{k}": v for k, v in feeds.items()} | {f"out.{k}": v for k, v in results.items()}
    np.savez_compressed(path, **arrays)


def write_case(case, folder, notes):
    """Writes one case's model and arrays; returns its entry for cases.json."""
    model = case.model()
    results, fused = check.run(model, case.feeds, case.extra.get("optimize", True))
    for entry in case.outputs:
        entry["type"] = results[entry["name"]].dtype.name
    model = case.model(results)
    opinion = check.second_opinion(model, case.feeds)
    limit, note = tolerance(case, results, fused, opinion)
    label = f"{case.family}/{case.name}"
    if note:
        notes.append(f"{label} [{limit['class']}, fused {fused}]: {note}")
    if case.contract:
        expected = case.contract()
        distance = max(int(check.steps(e, results[e["name"]], expected[e["name"]]).max()) for e in case.outputs)
        different = sum(int((check.steps(e, results[e["name"]], expected[e["name"]]) > 0).sum())
                        for e in case.outputs)
        counted = notes.counts.setdefault(f"contract, fused {fused}", [0, 0, 0, 0])
        counted[0] += 1
        counted[1] += sum(r.size for r in results.values())
        counted[2] += different
        counted[3] = max(counted[3], distance)
        if different:
            notes.append(f"{label} [{limit['class']}, fused {fused}]: {different} elements differ from the "
                         f"contract, at most {distance} steps")
            notes.broken |= limit["class"] == "exact"
    for entry in case.outputs:
        if "scale" in entry:
            info = np.iinfo(entry["quantized_type"])
            values = results[entry["name"]]
            if values.dtype == np.float32:
                values = np.rint(values / np.float32(entry["scale"])) + entry["zero_point"]
            share = np.mean((values == info.min) | (values == info.max))
            if share > 0.6 and "saturat" not in case.name:
                notes.append(f"{label}: {share:.0%} of the outputs sit on the ends of the range")
    (folder / f"{case.model_name}.onnx").write_bytes(model.SerializeToString())
    store(folder / f"{case.name}.npz", case.feeds, results)
    return {"name": case.name, "family": case.family, "model": f"{case.family}/{case.model_name}.onnx",
            "data": f"{case.family}/{case.name}.npz", "tolerance": limit, "outputs": case.outputs, "fused": fused,
            "may_fall_back": bool(case.extra.get("may_fall_back", False))}


class Notes(list):
    """What deserves a look, and counts of the checks against the contract."""

    def __init__(self):
        super().__init__()
        self.counts, self.broken = {}, False


def main():
    warnings.filterwarnings("ignore")
    for line in (HERE / "requirements.txt").read_text().split():
        name, version = line.split("==")
        if importlib.metadata.version(name) != version:
            sys.exit(f"make.py: {name} {importlib.metadata.version(name)} is installed, not {version}")
    entries, notes = [], Notes()
    for family, modules in FAMILIES.items():
        folder = HERE / family
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for module in modules:
            for case in module.cases():
                try:
                    entries.append(write_case(case, folder, notes))
                except Exception as error:
                    notes.append(f"{family}/{case.name}: NOT MADE: {str(error)[:300]}")
                    notes.broken = True
    names = [(e["family"], e["name"]) for e in entries]
    assert len(set(names)) == len(names), "two cases share a name"
    versions = {n: importlib.metadata.version(n) for n in ("numpy", "onnx", "onnxruntime")}
    lines = ",\n".join("    " + json.dumps(e) for e in entries)
    (HERE / "cases.json").write_text(f'{{\n  "made_with": {json.dumps(versions)},\n  "cases": [\n{lines}\n  ]\n}}\n')
    report(entries, notes)


def report(entries, notes):
    for note in notes:
        print(note)
    print()
    for check_name, (cases, elements, different, worst) in notes.counts.items():
        print(f"{check_name}: {cases} cases, {elements} elements, {different} differ, at most {worst} steps")
    for family in FAMILIES:
        chosen = [e for e in entries if e["family"] == family]
        kinds = {k: sum(e["tolerance"]["class"] == k for e in chosen) for k in ("exact", "one-step", "float")}
        size = sum(f.stat().st_size for f in (HERE / family).iterdir())
        print(f"{family}: {len(chosen)} cases, {kinds}, fused {sum(e['fused'] for e in chosen)}, {size} bytes")
    total = sum(f.stat().st_size for family in FAMILIES for f in (HERE / family).iterdir())
    print(f"all: {len(entries)} cases, {total} bytes")
    if total > LIMIT:
        sys.exit(f"make.py: {total} bytes are more than {LIMIT}: make the shapes smaller")
    if notes.broken:
        sys.exit("make.py: cases failed, or exact cases differ from the contract (try a CPU with VNNI): see the notes")


if __name__ == "__main__":
    main()
