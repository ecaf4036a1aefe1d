"""Accuracy of every model: float, onnxruntime's settings, ours at each effort."""
import sys

import numpy as np
import onnxruntime

import figures
import ours
import theirs

# What issue and README promise, in points of top-1 at the highest effort.
MEAN_DROP = 0.3
DROPS = {"arm_ds_cnn_s": 0.7, "efficientnet_lite0_224": 0.5}


def flags(effort):
    """How `quantize` is told the effort; "usual" leaves it to `quantize`."""
    return [] if effort == "usual" else ["--effort", effort]


def results(cases, efforts, pool):
    """The result of each model as soon as it is there, in order; the work is spread over `pool`."""
    work = []
    for case in cases:
        floats = [pool.submit(theirs.float_answers, case), pool.submit(ours.float_answers, case)]
        settings = {name: pool.submit(theirs.int8_answers, case, name) for name in theirs.SETTINGS}
        made = {effort: pool.submit(ours.int8_answers, case, flags(effort)) for effort in efforts}
        work.append((case, floats, settings, made))
    for case, floats, settings, made in work:
        yield of_model(case, floats, settings, made)


def of_model(case, floats, settings, made):
    """All figures of one model. Each runtime's int8 is compared with that runtime's own float."""
    labels = case.labels()
    their_float, our_float = (future.result()["answers"] for future in floats)
    theirs_judged = {name: figures.judged(future.result(), their_float, labels) for name, future in settings.items()}
    ours_judged = {}
    for effort, future in made.items():
        try:
            result = future.result()
        except RuntimeError as error:
            print(f"{case.name}: {error}", file=sys.stderr)
            ours_judged[effort] = None
            continue
        ours_judged[effort] = figures.judged(result, our_float, labels)
        ours_judged[effort]["p"] = figures.mcnemar(result["answers"], our_float, labels)
        changed = np.flatnonzero(np.array(result["answers"]) != np.array(our_float))
        ours_judged[effort]["changed"] = changed.tolist()
    return {
        "model": case.name,
        "samples": len(labels),
        "float": {"onnxruntime": figures.top1(their_float, labels), "cygnet": figures.top1(our_float, labels),
                  "agreement": figures.agreement(their_float, our_float)},
        "onnxruntime": theirs_judged,
        "ours": ours_judged,
    }


def best(settings, by):
    """The name of the setting with the largest figure `by` ("top1" or "agreement"); the first of equals."""
    return max(settings, key=lambda name: settings[name][by])


def mean_change(rows, effort):
    """The mean change of top-1 in points; nothing where a model has none."""
    changes = [row["ours"][effort]["change"] for row in rows if row["ours"][effort]]
    return float(np.mean(changes)) if len(changes) == len(rows) else None


def version():
    """onnxruntime's."""
    return onnxruntime.__version__


def verdicts(rows, effort):
    """(claim, whether it holds, the figures) for what is promised at `effort`."""
    found = []
    below = []
    for row in rows:
        mine, best_of_theirs = row["ours"][effort], best(row["onnxruntime"], "agreement")
        theirs_best = row["onnxruntime"][best_of_theirs]["agreement"]
        if mine is None or mine["agreement"] < theirs_best:
            shown = "failed" if mine is None else f"{mine['agreement']:.2f}"
            below.append(f"{row['model']} {shown} < {theirs_best:.2f} ({best_of_theirs})")
    found.append(("agrees with float at least as often as onnxruntime's best on every model", not below, below))
    mean = mean_change(rows, effort)
    shown = "a model failed" if mean is None else f"{mean:+.3f}"
    found.append((f"mean top-1 drop at most {MEAN_DROP} points", mean is not None and -mean <= MEAN_DROP, [shown]))
    for row in rows:
        allowed = DROPS.get(row["model"])
        if allowed is not None:
            mine = row["ours"][effort]
            shown = "failed" if mine is None else f"{mine['change']:+.2f}"
            holds = mine is not None and -mine["change"] <= allowed
            found.append((f"{row['model']}: top-1 drop at most {allowed} points", holds, [shown]))
    return found
