"""Accuracy of models with data, ours beside onnxruntime's; see --help and README.md of the project."""
import argparse
import concurrent.futures
import json
import os

import cases
import compare
import ours
import sizes
import tables

EXPLANATION = """top-1 in percent; in brackets how often the answer is the float model's, in percent.

Both runtimes get the same tensors: calibration in the same order, whole test sets, one sample at a time. An answer is
the place of the largest output, the first of equals. onnxruntime's int8 models are compared with onnxruntime's float
answers, our plans with cygnet's. Each quantizes as it does unless told otherwise: onnxruntime's outputs are int8, ours
are float sums of an int8 layer. p: McNemar's test, our int8 against our float.
Answers are kept in target/accuracy/answers by the content of the programs, models and sets."""


def arguments():
    parser = argparse.ArgumentParser(description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=cases.CASES, metavar="NAME", help=f"of {', '.join(cases.CASES)}")
    parser.add_argument("--efforts", nargs="+", metavar="EFFORT", help="of quantize's --effort; usual: without it")
    parser.add_argument("--sizes", action="store_true", help="the table of sizes instead")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else on stdout")
    return parser.parse_args()


def printed(rows, row_text):
    """All of `rows`, each printed as soon as it is there."""
    found = []
    for row in rows:
        print(row_text(row), flush=True)
        found.append(row)
    return found


def sizes_table(told, pool):
    chosen = [cases.case(name) for name in told.models or sizes.MODELS]
    if told.json:
        rows = list(sizes.results(chosen, pool))
        print(json.dumps({"models": rows}))
        return
    print(tables.sizes_head())
    rows = printed(sizes.results(chosen, pool), tables.sizes_rows)
    print("\n" + tables.verdict_lines([sizes.verdict(rows)]))


def accuracy_table(told, pool):
    chosen = [cases.case(name) for name in told.models or cases.CASES]
    efforts = told.efforts or ours.efforts() or ["usual"]
    rows = compare.results(chosen, efforts, pool)
    if told.json:
        rows = list(rows)
        judged = [dict(claim=claim, holds=holds, figures=figures)
                  for claim, holds, figures in compare.verdicts(rows, efforts[-1])]
        print(json.dumps({"onnxruntime": compare.version(), "models": rows, "verdicts": judged}))
        return
    print(f"onnxruntime {compare.version()}; {EXPLANATION}\n")
    print(tables.accuracy_head(efforts))
    rows = printed(rows, tables.accuracy_row)
    print(tables.mean_row(rows, efforts))
    print("\nAll settings of onnxruntime\n\n" + tables.settings_table(rows))
    print(tables.strides(rows))
    for effort in efforts:
        print(f"\nours, {effort}\n" + tables.verdict_lines(compare.verdicts(rows, effort)))


def main():
    told = arguments()
    # One thread each where numpy and onnxruntime would take all.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with concurrent.futures.ProcessPoolExecutor(told.jobs) as pool:
        (sizes_table if told.sizes else accuracy_table)(told, pool)


if __name__ == "__main__":
    main()
