"""What is said of a list of answers: right ones, same ones, and whether a difference may be chance."""
import math

import numpy as np


def top1(answers, labels):
    """Right answers in percent."""
    return 100 * float(np.mean(np.asarray(answers) == labels))


def agreement(answers, others):
    """Equal answers in percent."""
    return 100 * float(np.mean(np.asarray(answers) == np.asarray(others)))


def mcnemar(answers, others, labels):
    """The exact two-sided p of McNemar's test (1947): of the samples that only one of the two gets right, is each
    as likely to be the one's as the other's?"""
    first, second = np.asarray(answers) == labels, np.asarray(others) == labels
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    count, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(count, right) for right in range(fewer + 1))
    return min(1.0, 2 * tail / 2**count)


def judged(result, float_answers, labels):
    """`result` with "top1", its "change" from float in points, and "agreement" in place of its answers."""
    right = top1(result["answers"], labels)
    return {
        "top1": right,
        "change": right - top1(float_answers, labels),
        "agreement": agreement(result["answers"], float_answers),
        **{key: value for key, value in result.items() if key != "answers"},
    }
