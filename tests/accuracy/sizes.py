"""Smaller than int8: bytes and accuracy of what `quantize` makes with the flags that trade one for the other."""
import sys

import figures
import ours

# Name: the arguments of `quantize`. The first is what the others are compared with.
VARIANTS = {
    "int8": [],
    "4-bit": ["--weights", "int4"],
    "clustered": ["--weights", "clustered"],
    "pruned 30 %": ["--prune", "0.3"],
    "pruned 30 %, 4-bit": ["--prune", "0.3", "--weights", "int4"],
    "pruned 30 %, clustered": ["--prune", "0.3", "--weights", "clustered"],
}

MODELS = ["fashion", "objects", "digits-speech", "mlperf_ic_resnet8", "mlperf_kws_dscnn", "efficientnet_lite0_224"]

# What is promised: a variant this many times smaller than int8 loses at most so many points of top-1.
SMALLER, DROP = 2.0, 1.0


def results(cases, pool):
    """(model, {variant: figures or None}) in order; None where `quantize` refuses."""
    work = []
    for case in cases:
        variants = {name: pool.submit(ours.int8_answers, case, arguments) for name, arguments in VARIANTS.items()}
        work.append((case, pool.submit(ours.float_answers, case), variants))
    for case, float_answers, variants in work:
        labels, float_answers = case.labels(), float_answers.result()["answers"]
        row = {"model": case.name, "samples": len(labels), "float": figures.top1(float_answers, labels), "variants": {}}
        for name, future in variants.items():
            try:
                row["variants"][name] = figures.judged(future.result(), float_answers, labels)
            except RuntimeError as error:
                print(f"{case.name}, {name}: {error}", file=sys.stderr)
                row["variants"][name] = None
        yield row


def verdict(rows):
    """(claim, whether it holds, the variants that show it)."""
    shown = []
    for row in rows:
        int8 = row["variants"]["int8"]
        for name, found in row["variants"].items():
            if not found or not int8 or found["change"] < -DROP:
                continue
            model, plan = (int8[key] / found[key] for key in ("bytes", "plan_bytes"))
            if plan >= SMALLER:
                shown.append(f"{row['model']}, {name}: {plan:.2f} × (.onnx {model:.2f} ×) at {found['change']:+.2f}")
    claim = f"a plan is at least {SMALLER} × smaller than that of int8, and no more than {DROP} point is lost"
    return claim, bool(shown), shown
