"""Writes anchors.txt: outputs of a made detector and the boxes that NumPy finds in them, by the formulas of torchvision
(boxes across first, softmax with a background) and of TensorFlow's object detection (boxes down first, sigmoid).

    python runtime/sense/tests/golden/anchors.py
"""

import pathlib

import numpy

WIDTH, HEIGHT, LABELS = 64, 48, 3
# Stride, scales and ratios (width over height) of each anchor of a cell.
LEVELS = [(16, (14.0, 20.0, 14.0), (1.0, 1.0, 2.0)), (32, (30.0, 30.0, 30.0, 44.0), (1.0, 2.0, 0.5, 1.0))]
THRESHOLD, OVERLAP = 0.3, 0.45


def anchors():
    rows = []
    for stride, scales, ratios in LEVELS:
        for y in range(-(-HEIGHT // stride)):
            for x in range(-(-WIDTH // stride)):
                for scale, ratio in zip(scales, ratios):
                    root = numpy.sqrt(ratio)
                    rows.append(((x + 0.5) * stride, (y + 0.5) * stride, scale * root, scale / root))
    return numpy.array(rows)


def decoded(offsets, priors, variances):
    """Edges of the boxes, within the picture."""
    x, y, width, height = priors.T
    dx, dy, dw, dh = (offsets * variances).T
    x, y = x + dx * width, y + dy * height
    width, height = width * numpy.exp(dw), height * numpy.exp(dh)
    edges = numpy.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
    return edges.clip(0, [WIDTH, HEIGHT, WIDTH, HEIGHT])


def overlap(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return width * height / (area(a) + area(b) - width * height)


def suppressed(edges, scores):
    """The best class of each anchor; greedy suppression within a class."""
    classes, sure = scores.argmax(1), scores.max(1)
    kept = []
    for index in numpy.argsort(-sure, kind="stable"):
        others = (other for other in kept if classes[other] == classes[index])
        if sure[index] >= THRESHOLD and all(overlap(edges[index], edges[other]) <= OVERLAP for other in others):
            kept.append(index)
    return [(classes[index], sure[index], *edges[index]) for index in kept]


def main():
    random = numpy.random.default_rng(7)
    priors = anchors()
    offsets = random.normal(0, 1.5, (len(priors), 4)).round(3)
    logits = random.normal(-1.5, 1.5, (len(priors), 1 + LABELS)).round(3)
    whole = numpy.exp(logits)
    softmax = (whole / whole.sum(1, keepdims=True))[:, 1:]
    sigmoid = 1 / (1 + numpy.exp(-logits[:, 1:]))
    torchvision = suppressed(decoded(offsets, priors, [0.1, 0.1, 0.2, 0.2]), softmax)
    swapped = offsets[:, [1, 0, 3, 2]]
    tensorflow = suppressed(decoded(swapped, priors, [0.1, 0.1, 0.2, 0.2]), sigmoid)
    lines = [["anchors", *priors.ravel()], ["offsets", *offsets.ravel()], ["logits", *logits.ravel()]]
    lines += [["torchvision", *numpy.ravel(torchvision)], ["tensorflow", *numpy.ravel(tensorflow)]]
    text = "".join(" ".join([name, *(f"{value:.7g}" for value in values)]) + "\n" for name, *values in lines)
    (pathlib.Path(__file__).parent / "anchors.txt").write_text(text)
    print(len(priors), "anchors,", len(torchvision), "and", len(tensorflow), "boxes")


main()
