//! Samples as a reader can see them: pictures, sound as a spectrogram, other tensors as a line.

use cygnet::Card;
use cygnet_onnx::model::{Model, Tensor};
use cygnet_sense::{Colour, ImageSpec, Layout};
use image::{ExtendedColorType, ImageEncoder};
use serde::Serialize;

use crate::data::Sample;
use crate::facts::Facts;

/// No side of a preview has more pixels.
const LARGEST: usize = 160;
/// Smaller pictures are kept to the bit.
const KEPT: usize = 64;

/// What is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Pixels.
    Picture,
    /// Time to the right, bands upwards, louder is lighter.
    Spectrogram,
    /// Values one behind the other.
    Line,
}

/// A sample to look at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preview {
    /// What is seen.
    pub kind: Kind,
    /// Pixels across; of a line, values.
    pub width: usize,
    /// Pixels down; of a line, 1.
    pub height: usize,
    /// PNG or JPEG as a data URI; empty for a line.
    pub image: String,
    /// The values of a line, or the loudest of each stretch where there are many.
    pub line: Vec<f32>,
}

/// How an input of the model is looked at: as rows and columns of one or three channels.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Which input.
    pub input: usize,
    /// What is seen.
    pub kind: Kind,
    /// Rows, columns, channels.
    pub extents: [usize; 3],
    /// Elements from one row, column, channel to the next.
    pub strides: [usize; 3],
    /// How pixels became the tensor, where the card says it.
    image: Option<ImageSpec>,
}

impl View {
    /// How the input that the card means, or the largest one, is looked at; `None` where it has too many axes.
    pub fn of(model: &Model, facts: &Facts, card: Option<&Card>) -> Option<View> {
        let shape = |name: &str| facts.get(name).map(|(_, shape)| shape.clone());
        let named = card.and_then(Card::input_name).and_then(|n| model.inputs.iter().position(|i| i.name == n));
        let len = |index: &usize| shape(&model.inputs[*index].name).map_or(0, |shape| shape.iter().product::<usize>());
        // Of equally large ones the first.
        let input = named.or_else(|| (0..model.inputs.len()).rev().max_by_key(len))?;
        let shape = shape(&model.inputs[input].name)?;
        let image = card.and_then(Card::image_spec);
        let is_sound = card.is_some_and(|card| card.audio_spec().is_some());
        let axes: Vec<usize> = shape.get(1..)?.to_vec();
        let (kind, extents, strides) = match axes[..] {
            [c, h, w] if !is_sound && is_planar(image.as_ref(), c, w) => (Kind::Picture, [h, w, c], [w, 1, h * w]),
            [one @ 1, frames, bands] | [frames, bands, one @ 1] if is_sound => {
                (Kind::Spectrogram, [bands, frames, one], [1, bands, 1])
            }
            [h, w, c @ (1 | 3)] => (Kind::Picture, [h, w, c], [w * c, c, 1]),
            [frames, bands] if frames > 1 && bands > 1 => (Kind::Spectrogram, [bands, frames, 1], [1, bands, 1]),
            _ => {
                let len = axes.iter().product();
                let longest = axes.iter().copied().max()?;
                // One long axis, the others 1.
                if longest != len || len < 2 {
                    return None;
                }
                (Kind::Line, [1, len, 1], [len, 1, 1])
            }
        };
        let image = image.filter(|image| kind == Kind::Picture && image.channels() == extents[2]);
        Some(View { input, kind, extents, strides, image })
    }

    /// The position of an element.
    pub fn index(&self, row: usize, column: usize, channel: usize) -> usize {
        row * self.strides[0] + column * self.strides[1] + channel * self.strides[2]
    }

    /// The value of each channel that says nothing: mid-grey in a picture, else the mean of the sample.
    pub fn grey(&self, values: &[f32]) -> [f32; 3] {
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len().max(1) as f64;
        match &self.image {
            Some(image) => [0, 1, 2].map(|channel| (127.5 - image.mean[channel]) * image.scale[channel]),
            None => [mean as f32; 3],
        }
    }

    /// What `sample` looks like; `None` where its tensor is no such input.
    pub fn preview(&self, sample: &Sample) -> Option<Preview> {
        let values = sample.inputs.get(self.input).map(Tensor::to_f32s)?.ok()?;
        let [rows, columns, channels] = self.extents;
        if values.len() != rows * columns * channels || values.is_empty() {
            return None;
        }
        if self.kind == Kind::Line {
            let line = values.chunks(values.len().div_ceil(256)).filter_map(loudest).collect();
            return Some(Preview { kind: self.kind, width: columns, height: 1, image: String::new(), line });
        }
        let step = rows.max(columns).div_ceil(LARGEST);
        let (height, width) = (rows.div_ceil(step), columns.div_ceil(step));
        let to_byte = self.to_byte(&values);
        let mut pixels = Vec::with_capacity(width * height * 3);
        for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
            for colour in 0..3 {
                pixels.push(to_byte(self.mean_of(&values, row * step, column * step, step, colour), colour));
            }
        }
        // Low bands stand at the bottom.
        if self.kind == Kind::Spectrogram {
            pixels = pixels.chunks(width * 3).rev().flatten().copied().collect();
        }
        let image = encoded(&pixels, width, height, ExtendedColorType::Rgb8)?;
        Some(Preview { kind: self.kind, width, height, image, line: Vec::new() })
    }

    /// The mean of a square of `step` elements in the channel that shows `colour` (red, green, blue).
    fn mean_of(&self, values: &[f32], row: usize, column: usize, step: usize, colour: usize) -> f32 {
        let [rows, columns, _] = self.extents;
        let channel = self.channel(colour);
        let (mut sum, mut count) = (0f64, 0f64);
        for row in row..(row + step).min(rows) {
            for column in column..(column + step).min(columns) {
                sum += f64::from(values[self.index(row, column, channel)]);
                count += 1.0;
            }
        }
        (sum / count.max(1.0)) as f32
    }

    /// The channel of red (0), green (1), blue (2).
    fn channel(&self, colour: usize) -> usize {
        match &self.image {
            _ if self.extents[2] == 1 => 0,
            Some(image) if image.colour == Colour::Bgr => 2 - colour,
            _ => colour,
        }
    }

    /// From values to what a screen shows: as the card says, else the least value black and the largest white.
    fn to_byte(&self, values: &[f32]) -> impl Fn(f32, usize) -> u8 + '_ {
        let (low, high) = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
        move |value, colour| {
            let channel = self.channel(colour);
            let byte = match &self.image {
                Some(image) => value / image.scale[channel] + image.mean[channel],
                None => (value - low) / (high - low).max(f32::MIN_POSITIVE) * 255.0,
            };
            byte.round_ties_even() as u8
        }
    }
}

/// Whether the first of three axes is the channel of a picture.
fn is_planar(image: Option<&ImageSpec>, first: usize, last: usize) -> bool {
    match image {
        Some(image) => image.layout == Layout::Nchw,
        None => [1, 3].contains(&first) && last > 3,
    }
}

/// The value that lies farthest from 0.
fn loudest(values: &[f32]) -> Option<f32> {
    values.iter().copied().reduce(|most, value| if value.abs() > most.abs() { value } else { most })
}

/// Pixels as PNG, or as JPEG where they are many and have no transparency, in a data URI.
pub(super) fn encoded(pixels: &[u8], width: usize, height: usize, colour: ExtendedColorType) -> Option<String> {
    let (mut bytes, size) = (Vec::new(), (u32::try_from(width).ok()?, u32::try_from(height).ok()?));
    let is_photo = colour == ExtendedColorType::Rgb8 && width.max(height) > KEPT;
    let encoding = if is_photo {
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 88);
        encoder.write_image(pixels, size.0, size.1, colour)
    } else {
        image::codecs::png::PngEncoder::new(&mut bytes).write_image(pixels, size.0, size.1, colour)
    };
    encoding.ok()?;
    Some(format!("data:image/{};base64,{}", if is_photo { "jpeg" } else { "png" }, base64(&bytes)))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use cygnet_onnx::model::DType;

    use super::*;

    #[test]
    fn bytes_become_text_as_the_standard_says() {
        // RFC 4648, section 10.
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (bytes, expected) in cases {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }

    fn view(shape: &[usize], card: Option<&str>) -> Option<View> {
        let model = Model {
            inputs: vec![cygnet_onnx::model::ValueInfo { name: "x".into(), dtype: DType::F32, shape: None }],
            ..Model::default()
        };
        let facts = Facts::from([("x".to_string(), (DType::F32, shape.to_vec()))]);
        View::of(&model, &facts, card.map(|text| Card::parse(text).unwrap()).as_ref())
    }

    #[test]
    fn axes_are_told_apart() {
        const PICTURE: &str = "name = \"a\"\ntask = \"other\"\n[input]\nkind = \"image\"\nwidth = 5\nheight = 4\n";
        type Found = Option<(Kind, [usize; 3], [usize; 3])>;
        let cases: [(&[usize], Option<&str>, Found); 7] = [
            (&[1, 3, 4, 5], Some(PICTURE), Some((Kind::Picture, [4, 5, 3], [5, 1, 20]))),
            (&[1, 3, 4, 5], None, Some((Kind::Picture, [4, 5, 3], [5, 1, 20]))),
            (&[1, 4, 5, 3], None, Some((Kind::Picture, [4, 5, 3], [15, 3, 1]))),
            (&[1, 49, 10], None, Some((Kind::Spectrogram, [10, 49, 1], [1, 10, 1]))),
            (&[1, 490], None, Some((Kind::Line, [1, 490, 1], [490, 1, 1]))),
            (&[1, 7, 8, 9, 10], None, None),
            (&[], None, None),
        ];
        for (shape, card, expected) in cases {
            let found = view(shape, card).map(|view| (view.kind, view.extents, view.strides));
            assert_eq!(found, expected, "{shape:?}");
        }
    }

    #[test]
    fn pictures_are_seen_as_they_were() {
        const CARD: &str = "name = \"a\"\ntask = \"other\"\n[input]\nkind = \"image\"\nwidth = 2\nheight = 1\n\
            colour = \"bgr\"\nmean = [100.0, 110.0, 120.0]\nscale = [0.5]\n";
        let view = view(&[1, 3, 1, 2], Some(CARD)).unwrap();
        let pixel = |byte: f32, channel: usize| (byte - [100.0, 110.0, 120.0][channel]) * 0.5;
        // Two pixels (red, green, blue): (1, 2, 3) and (250, 251, 252); planes of blue, green, red.
        let planes = [pixel(3.0, 0), pixel(252.0, 0), pixel(2.0, 1), pixel(251.0, 1), pixel(1.0, 2), pixel(250.0, 2)];
        let to_byte = view.to_byte(&planes);
        let seen = |column: usize| [0, 1, 2].map(|colour| to_byte(view.mean_of(&planes, 0, column, 1, colour), colour));
        assert_eq!([seen(0), seen(1)], [[1, 2, 3], [250, 251, 252]]);
        assert_eq!(view.grey(&planes), [13.75, 8.75, 3.75]);
        let sample =
            Sample { name: "s".into(), inputs: vec![Tensor::from_f32(vec![1, 3, 1, 2], &planes)], label: None };
        assert!(view.preview(&sample).unwrap().image.starts_with("data:image/png;base64,iVBORw0KGgo"));
    }
}
