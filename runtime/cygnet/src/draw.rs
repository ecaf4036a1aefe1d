//! What was found, drawn on the picture.

use std::path::Path;

use image::{Rgb, RgbImage};

use crate::found::Found;
use crate::input::Picture;
use crate::keypoints::BodyPoint;
use crate::mask::Mask;
use crate::output::write_file;

/// Colours that are told apart easily, by class (Okabe and Ito, «Color universal design», 2008).
const COLOURS: [[u8; 3]; 7] =
    [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]];

/// Pixels of a line, for each 400 pixels of the longer side.
const LINE: u32 = 400;

/// Writes a picture as PNG with the boxes and keypoints drawn on it, whole or not at all.
///
/// # Errors
/// What the system says.
pub fn write_drawing(path: &Path, picture: &Picture, found: &[Found]) -> std::io::Result<()> {
    let mut canvas = picture.to_rgb();
    let line = canvas.width().max(canvas.height()).div_ceil(LINE) as i64;
    for one in found {
        let colour = Rgb(COLOURS[one.class % COLOURS.len()]);
        let [left, top, right, bottom] = [one.left, one.top, one.right, one.bottom].map(|edge| edge.round() as i64);
        for (x, y, width, height) in [
            (left, top, right - left, line),
            (left, bottom - line, right - left, line),
            (left, top, line, bottom - top),
            (right - line, top, line, bottom - top),
        ] {
            fill(&mut canvas, [x, y, width, height], colour);
        }
        for &(x, y) in &one.keypoints {
            fill(&mut canvas, [x.round() as i64 - line, y.round() as i64 - line, 2 * line + 1, 2 * line + 1], colour);
        }
    }
    write_picture(path, &canvas)
}

/// Writes a picture as PNG with the pixels of each class half covered by its colour, whole or not at all. The mask is one
/// of this picture.
///
/// # Errors
/// What the system says.
pub fn write_mask(path: &Path, picture: &Picture, mask: &Mask) -> std::io::Result<()> {
    let mut canvas = picture.to_rgb();
    for (pixel, class) in canvas.pixels_mut().zip(&mask.classes) {
        let Some(class) = class else { continue };
        let colour = COLOURS[usize::from(*class) % COLOURS.len()];
        for (value, colour) in pixel.0.iter_mut().zip(colour) {
            *value = ((u16::from(*value) + u16::from(colour)) / 2) as u8;
        }
    }
    write_picture(path, &canvas)
}

/// Writes a picture as PNG with points and the lines of `pairs` between them drawn on it, whole or not at all. `pairs` are
/// numbers of points; lines whose ends are not both among `points` are left out.
///
/// # Errors
/// What the system says.
pub fn write_keypoints(
    path: &Path,
    picture: &Picture,
    points: &[BodyPoint],
    pairs: &[[u32; 2]],
) -> std::io::Result<()> {
    let mut canvas = picture.to_rgb();
    let width = canvas.width().max(canvas.height()).div_ceil(LINE) as i64;
    let place = |number: u32| {
        let point = points.iter().find(|point| point.number == number as usize)?;
        Some((f64::from(point.x), f64::from(point.y)))
    };
    for (number, &[from, to]) in pairs.iter().enumerate() {
        if let (Some(from), Some(to)) = (place(from), place(to)) {
            draw_line(&mut canvas, from, to, width, Rgb(COLOURS[number % COLOURS.len()]));
        }
    }
    for point in points {
        let (x, y) = (point.x.floor() as i64, point.y.floor() as i64);
        let colour = Rgb(COLOURS[point.number % COLOURS.len()]);
        fill(&mut canvas, [x - width, y - width, 2 * width + 1, 2 * width + 1], colour);
    }
    write_picture(path, &canvas)
}

/// Draws a line of so many pixels between two points of the picture.
fn draw_line(canvas: &mut RgbImage, from: (f64, f64), to: (f64, f64), width: i64, colour: Rgb<u8>) {
    let inside = |(x, y): (f64, f64)| (x.clamp(0.0, canvas.width().into()), y.clamp(0.0, canvas.height().into()));
    let (from, to) = (inside(from), inside(to));
    let (across, down) = (to.0 - from.0, to.1 - from.1);
    let steps = across.abs().max(down.abs()).ceil().max(1.0) as u32;
    for step in 0..=steps {
        let part = f64::from(step) / f64::from(steps);
        let (x, y) = ((from.0 + part * across).floor() as i64, (from.1 + part * down).floor() as i64);
        fill(canvas, [x - width / 2, y - width / 2, width, width], colour);
    }
}

fn write_picture(path: &Path, canvas: &RgbImage) -> std::io::Result<()> {
    write_file(path, |file| canvas.write_to(file, image::ImageFormat::Png).map_err(std::io::Error::other))
}

/// Fills the part of a rectangle that lies in the picture.
fn fill(canvas: &mut RgbImage, [x, y, width, height]: [i64; 4], colour: Rgb<u8>) {
    let inside =
        |from: i64, len: i64, end: u32| from.clamp(0, end.into()) as u32..(from + len).clamp(0, end.into()) as u32;
    let columns = inside(x, width, canvas.width());
    for row in inside(y, height, canvas.height()) {
        columns.clone().for_each(|column| canvas.put_pixel(column, row, colour));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_drawn_and_what_lies_outside_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from.png"), folder.path().join("to.png"));
        RgbImage::from_pixel(10, 8, Rgb([7, 7, 7])).save(&from).unwrap();
        let found = Found {
            class: 7,
            label: "x".into(),
            score: 1.0,
            left: -5.0,
            top: 2.0,
            right: 6.0,
            bottom: 7.0,
            keypoints: vec![(8.0, 0.0), (90.0, 90.0)],
        };
        write_drawing(&to, &Picture::open(&from).unwrap(), &[found]).unwrap();
        let drawn = image::open(&to).unwrap().into_rgb8();
        let marked = |x, y| drawn.get_pixel(x, y).0 == COLOURS[0];
        let rows: Vec<String> =
            (0..8).map(|y| (0..10).map(|x| if marked(x, y) { '#' } else { '.' }).collect()).collect();
        let expected = [
            ".......###",
            ".......###",
            "######....",
            ".....#....",
            ".....#....",
            ".....#....",
            "######....",
            "..........",
        ];
        assert_eq!(rows, expected);
    }
}
