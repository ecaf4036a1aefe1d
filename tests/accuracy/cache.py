"""Answers that were computed once are kept in target/accuracy/answers, under the content of all that made them."""
import hashlib
import json
import os
import pathlib

import numpy as np

import downloads

FOLDER = downloads.ROOT / "target/accuracy/answers"


def key(*parts):
    """A name for the content of `parts`: a path stands for its file's bytes, anything else for its text."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, pathlib.Path) else str(part).encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:32]


def kept(key, compute):
    """What `compute` gave for `key`: a dict of numbers, texts and lists. Written whole or not at all."""
    path = FOLDER / f"{key}.json"
    if path.is_file():
        return json.loads(path.read_text())
    value = compute()
    FOLDER.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(value, default=plain))
    beside.rename(path)
    return value


def plain(value):
    """numpy's numbers and arrays as JSON knows them."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)
