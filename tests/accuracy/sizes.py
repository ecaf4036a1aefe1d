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
            if found and int8 and int8["bytes"] >= SMALLER * found["bytes"] and found["change"] >= -DROP:
                shown.append(f"{row['model']}, {name}: {int8['bytes'] / found['bytes']:.2f} × smaller, {found['change']:+.2f}")
    return f"one is at least {SMALLER} × smaller than int8 at no more than {DROP} point lost", bool(shown), shown
