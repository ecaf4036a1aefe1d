"""Photos as the tensors that two models of others want, by Pillow.

Both runtimes are fed these tensors, so that nothing of JPEG decoding or resizing enters the comparison.
"""
import numpy as np
from PIL import Image

PREPARATION = {
    "efficientnet_lite0_224": dict(width=224, height=224, colour="rgb", resize_shorter=256, filter=Image.BICUBIC,
                                   mean=[127.0] * 3, scale=[1 / 128] * 3),
    "squeezenet_v1.1": dict(width=227, height=227, colour="bgr", resize_shorter=None, filter=Image.BILINEAR,
                            mean=[104.0, 117.0, 123.0], scale=[1.0] * 3),
}


def resized(picture, width, height, resize_shorter, filter):
    """Stretched to width × height; with `resize_shorter` its shorter side becomes that, and the middle is cut out."""
    if resize_shorter is None:
        return picture.resize((width, height), filter)
    shorter = min(picture.size)
    size = tuple(resize_shorter if side == shorter else int(resize_shorter * side / shorter) for side in picture.size)
    picture = picture.resize(size, filter)
    left, top = int(round((size[0] - width) / 2)), int(round((size[1] - height) / 2))
    return picture.crop((left, top, left + width, top + height))


def tensor(path, width, height, colour, resize_shorter, filter, mean, scale):
    """The photo at `path` as float32 [3, height, width]: (pixel - mean) × scale."""
    picture = resized(Image.open(path).convert("RGB"), width, height, resize_shorter, filter)
    pixels = np.asarray(picture, np.float32)
    if colour == "bgr":
        pixels = pixels[..., ::-1]
    values = (pixels - np.float32(mean)) * np.float32(scale)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def tensors(model, paths):
    """All photos of `paths` for `model`: float32 [n, 3, height, width]."""
    return np.stack([tensor(path, **PREPARATION[model]) for path in paths])
