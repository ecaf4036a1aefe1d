"""Draws lines of text as pictures, with noise and blur: the same ones each time."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

WORDS = (
    "the quick brown fox jumps over lazy dog Total 12.50 EUR Invoice No. 2024 street market open daily 09:00 18:30 "
    "Please keep door closed Warning high voltage exit platform 7 train ticket price coffee tea milk sugar water "
    "bottle sale 50% off new fresh bread hotel room 214 floor second left turn right phone +49 30 1234567 "
    "www.example.org mail info order number A-7731 date 2026-11-22 temperature 21.5 C speed 80 km/h museum library "
    "garden north south bridge river"
).split()


def line(random):
    """A picture and its text."""
    text = " ".join(random.choice(WORDS, random.integers(2, 5)))
    font = ImageFont.load_default(int(random.integers(28, 40)))
    left, top, right, bottom = font.getbbox(text)
    width, height = int(right - left + random.integers(8, 24)), int(bottom - top + random.integers(8, 20))
    paper, ink = random.integers(150, 256, 3), random.integers(0, 90, 3)
    if random.random() < 0.3:
        paper, ink = ink, paper
    picture = Image.new("RGB", (width, height), tuple(map(int, paper)))
    place = (4 - left + int(random.integers(0, 6)), (height - int(bottom - top)) // 2 - top)
    ImageDraw.Draw(picture).text(place, text, font=font, fill=tuple(map(int, ink)))
    picture = picture.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 1.2))))
    noisy = np.asarray(picture, float) + random.normal(0, random.uniform(0, 14), (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), text


def write(folder, count, seed):
    """Writes `count` lines as PNG; returns their texts."""
    folder.mkdir(parents=True, exist_ok=True)
    random, texts = np.random.default_rng(seed), []
    for index in range(count):
        picture, text = line(random)
        picture.save(folder / f"{index:03}.png")
        texts.append(text)
    return texts
