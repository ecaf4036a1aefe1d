"""Train `fashion`, a 10-class classifier of 28x28 grey pictures of clothes, with Keras and export it with tf2onnx.

The network is what a beginner's Keras tutorial ends with: three 3x3 convolutions with ReLU and max pooling, a dense
layer, softmax. Keras keeps channels last, so the ONNX file has an NHWC input and Transposes inside.

The data is Fashion-MNIST, from Debian's package `dataset-fashion-mnist`:

    python train.py --data /usr/share/datasets/fashion-mnist --out .
"""

import argparse
import gzip
import pathlib

import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx
from PIL import Image
from tensorflow import keras

LABELS = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"]


def load(folder, name):
    """One half of the set (`train` or `t10k`): uint8 pictures [N, 28, 28] and int64 labels [N]."""
    folder = pathlib.Path(folder)
    with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
        pictures = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    return pictures, labels


def tensor(pictures):
    """uint8 [N, 28, 28] to the float32 [N, 28, 28, 1] that the model wants: pixel / 255, as fashion.toml says."""
    return (pictures.astype(np.float32) * np.float32(1 / 255))[..., None]


def build():
    """[N, 28, 28, 1] to probabilities [N, 10]."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            layers.Conv2D(24, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(48, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(96, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(len(LABELS), activation="softmax", name="scores"),
        ],
        name="fashion",
    )


def batches(x, y, size, seed):
    """Shuffled, mirrored at random, shifted by up to 1 pixel."""

    def change(picture, label):
        picture = tf.image.random_flip_left_right(picture)
        padded = tf.pad(picture, [[1, 1], [1, 1], [0, 0]])
        return tf.image.random_crop(padded, [28, 28, 1]), label

    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=seed)
    return data.map(change, num_parallel_calls=1).batch(size, drop_remainder=True).prefetch(4)


def export(model, data, out):
    """Write fashion.onnx, calib.npz (training pictures), eval.npz and samples/ (test pictures)."""
    (train_x, train_y), (test_x, test_y) = data
    out = pathlib.Path(out)
    signature = (tf.TensorSpec((None, 28, 28, 1), tf.float32, name="image"),)

    @tf.function(input_signature=signature)
    def fashion(image):
        return {"scores": model(image, training=False)}

    tf2onnx.convert.from_function(fashion, signature, opset=15, output_path=str(out / "fashion.onnx"))
    calib, evaluation = balanced(train_y, 120), balanced(test_y, 500)
    np.savez_compressed(out / "calib.npz", x=tensor(train_x[calib]))
    np.savez_compressed(out / "eval.npz", x=tensor(test_x[evaluation]), y=test_y[evaluation])
    samples = out / "samples"
    samples.mkdir(exist_ok=True)
    for name in ["ankle-boot", "bag", "dress", "trouser"]:
        # the last of its class in the test set, which no other file here holds
        picture = test_x[np.flatnonzero(test_y == LABELS.index(name))[-1]]
        Image.fromarray(picture).save(samples / f"{name}.png", optimize=True)
    right = measure(out / "fashion.onnx", tensor(test_x)) == test_y
    print(f"test set: {right.mean():.4f} of {len(right)}; eval.npz: {right[evaluation].mean():.4f} of {len(evaluation)}")


def measure(path, x):
    """The exported model's answers, by onnxruntime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: x[i : i + 500]})[0].argmax(1) for i in range(0, len(x), 500)]
    return np.concatenate(parts)


def balanced(labels, count):
    """The first count / classes samples of each class, in the order of the set."""
    each = count // len(LABELS)
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:each] for c in range(len(LABELS))]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with the four idx3/idx1 .gz files of Fashion-MNIST")
    parser.add_argument("--out", default=".", help="folder for fashion.onnx, calib.npz, eval.npz, samples/")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate; falls to 0 along a cosine")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    keras.utils.set_random_seed(args.seed)
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    data = load(args.data, "train"), load(args.data, "t10k")
    (train_x, train_y), (test_x, test_y) = data
    steps = len(train_x) // args.batch
    model = build()
    model.summary()
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(args.rate, args.epochs * steps)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(
        batches(tensor(train_x), train_y, args.batch, args.seed),
        epochs=args.epochs,
        validation_data=(tensor(test_x), test_y),
        validation_batch_size=500,
        verbose=2,
    )
    export(model, data, args.out)


if __name__ == "__main__":
    main()
