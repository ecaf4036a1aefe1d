"""Quantizes detectors and a reader of text, compares them with their float models: measure.py ZOO PHOTOS FASTESTDET"""

import json
import pathlib
import shutil
import subprocess
import sys

import lines

# Labels of COCO, which FastestDet was trained on.
COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,"
    "suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
    "tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
    "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,"
    "cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,"
    "toothbrush"
).split(",")
FASTESTDET = f"""name = "fastestdet"
task = "detection"
labels = {json.dumps(COCO)}

[input]
kind = "image"
width = 352
height = 352
colour = "bgr"
scale = [0.00392156862745098] # 1 / 255

[boxes]
decoder = "fastest-det"
score_threshold = 0.65
iou_threshold = 0.45
"""
# Pictures to calibrate a detector on.
CALIBRATION = 48
# A box is found again where it overlaps so much.
FOUND = 0.5


def run(model, data):
    """What `cygnet run` says to each picture."""
    command = ["target/release/cygnet", "run", model, data, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["samples"]


def quantize(model, calibration):
    """The int8 model, beside the float one."""
    subprocess.run(["target/release/quantize", model, "--calib", calibration], check=True, capture_output=True)
    return model.with_suffix(".int8.onnx")


def fallbacks(model):
    """Steps that run through the fallback."""
    command = ["target/release/cygnet", "inspect", model]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.count("HostStep")


def overlap(a, b):
    width = max(0, min(a["right"], b["right"]) - max(a["left"], b["left"]))
    height = max(0, min(a["bottom"], b["bottom"]) - max(a["top"], b["top"]))
    area = lambda box: (box["right"] - box["left"]) * (box["bottom"] - box["top"])
    union = area(a) + area(b) - width * height
    return width * height / union if union > 0 else 0


def compare_boxes(name, model, photos, folder):
    calibration, evaluation = folder / f"{name}-calib", folder / "photos"
    samples = run(model, photos / "calib")
    # Pictures without an object say little about the layers that find some.
    samples.sort(key=lambda sample: (not sample["boxes"], sample["name"]))
    shutil.rmtree(calibration, ignore_errors=True)
    calibration.mkdir(parents=True)
    for sample in samples[:CALIBRATION]:
        shutil.copy(photos / "calib" / sample["name"], calibration)
    if not evaluation.exists():
        # Without the labels of another task.
        shutil.copytree(photos / "eval", evaluation, ignore=shutil.ignore_patterns("*.csv"))
    small = quantize(model, calibration)
    overlaps, boxes, missed, more = [], 0, 0, 0
    for float_sample, int8_sample in zip(run(model, evaluation), run(small, evaluation)):
        left = list(int8_sample["boxes"])
        for box in float_sample["boxes"]:
            boxes += 1
            own = [other for other in left if other["class"] == box["class"]]
            best = max(own, key=lambda other: overlap(box, other), default=None)
            if best is None or overlap(box, best) < FOUND:
                missed += 1
                continue
            left.remove(best)
            overlaps.append(overlap(box, best))
        more += len(left)
    mean = sum(overlaps) / max(1, len(overlaps))
    all_boxes = sum(overlaps) / max(1, boxes)
    print(f"{name}: {boxes} boxes of the float model, {len(overlaps)} found again with a mean IoU of {mean:.3f}, "
          f"{missed} missed ({all_boxes:.3f} with 0 for them), {more} more; fallback steps: float {fallbacks(model)}, "
          f"int8 {fallbacks(small)}")


def edits(a, b):
    """Characters to put in, take out or change so that `a` becomes `b` (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def characters(answers, texts):
    """Share of characters that are right, spaces left out."""
    pairs = [(answer.replace(" ", ""), text.replace(" ", "")) for answer, text in zip(answers, texts)]
    return 1 - sum(edits(answer, text) for answer, text in pairs) / sum(len(text) for _, text in pairs)


def compare_text(name, model, folder):
    lines.write(folder / "lines-calib", 80, 5)
    # None of them was looked at while quantize was written.
    texts = lines.write(folder / "lines", 120, 2026)
    small = quantize(model, folder / "lines-calib")
    answers = [[sample["read"]["text"] for sample in run(path, folder / "lines")] for path in (model, small)]
    pairs = list(zip(*answers))
    equal = sum(a == b for a, b in pairs)
    letters = sum(a.replace(" ", "") == b.replace(" ", "") for a, b in pairs)
    right = [sum(a.replace(" ", "") == b.replace(" ", "") for a, b in zip(answer, texts)) for answer in answers]
    print(f"{name}: {equal} of {len(pairs)} lines equal the float model's, {letters} but for spaces; right but for "
          f"spaces: float {right[0]}, int8 {right[1]}; characters right: float "
          f"{characters(answers[0], texts):.2%}, int8 {characters(answers[1], texts):.2%}; "
          f"fallback steps: float {fallbacks(model)}, int8 {fallbacks(small)}")


def main(zoo, photos, fastestdet):
    zoo, photos = pathlib.Path(zoo), pathlib.Path(photos)
    folder = zoo / "vision"
    folder.mkdir(parents=True, exist_ok=True)
    detector = folder / "fastestdet.onnx"
    shutil.copy(fastestdet, detector)
    detector.with_suffix(".toml").write_text(FASTESTDET)
    compare_boxes("fastestdet", detector, photos, folder)
    compare_boxes("centerface", zoo / "centerface.onnx", photos, folder)
    compare_text("pp-ocrv4-recognition", zoo / "pp-ocrv4-recognition.onnx", folder)


main(*sys.argv[1:])
