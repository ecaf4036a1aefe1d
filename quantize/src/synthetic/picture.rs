//! Pictures that have in them what photographs have: the 1/f spectrum of natural scenes (Field 1987,
//! <https://doi.org/10.1364/JOSAA.4.002379>), objects that cover each other with sharp edges, shades and noise.

use crate::random::Random;

/// Octaves of noise.
const OCTAVES: u32 = 6;
/// Most objects in a picture.
const OBJECTS: usize = 9;

/// A picture: `[height, width, 3]`, red, green and blue from 0 to 1. `index` turns the styles, `random` fills them.
pub fn paint(width: usize, height: usize, index: usize, random: &mut Random) -> Vec<f32> {
    let mut pixels = match index % 4 {
        // A texture from edge to edge.
        0 => texture(width, height, random, 0.9),
        // A scene.
        1 | 2 => texture(width, height, random, 0.35),
        // One thing before an even ground, as in pictures for a catalogue: dark or bright.
        _ => {
            let ground = if random.below(2) == 0 { random.between(0.0, 0.08) } else { random.between(0.92, 1.0) };
            vec![ground as f32; width * height * 3]
        }
    };
    let objects = match index % 4 {
        0 => 0,
        3 => 1,
        _ => 2 + random.below(OBJECTS - 1),
    };
    for _ in 0..objects {
        object(&mut pixels, width, height, random);
    }
    expose(&mut pixels, random);
    pixels
}

/// Noise of many octaves around a colour, with `contrast`.
fn texture(width: usize, height: usize, random: &mut Random, contrast: f32) -> Vec<f32> {
    let colour: [f32; 3] = std::array::from_fn(|_| random.between(0.2, 0.8) as f32);
    let light = fractal(width, height, random);
    // Colours change less than light.
    let tints = [fractal(width, height, random), fractal(width, height, random)];
    let mut pixels = Vec::with_capacity(width * height * 3);
    for place in 0..width * height {
        let (light, red, blue) = (light[place], 0.4 * tints[0][place], 0.4 * tints[1][place]);
        let shifts = [light + red, light - (red + blue) / 2.0, light + blue];
        pixels.extend(colour.iter().zip(shifts).map(|(base, shift)| (base + contrast * shift).clamp(0.0, 1.0)));
    }
    pixels
}

/// Value noise whose amplitude falls as one over the frequency; within about -1 … 1.
fn fractal(width: usize, height: usize, random: &mut Random) -> Vec<f32> {
    let mut sum = vec![0f32; width * height];
    for octave in 1..=OCTAVES {
        let cells = 1usize << octave;
        let lattice: Vec<f32> = (0..(cells + 1) * (cells + 1)).map(|_| random.between(-1.0, 1.0) as f32).collect();
        let at = |column: usize, row: usize| lattice[row * (cells + 1) + column];
        let amplitude = 2.0 / cells as f32;
        for y in 0..height {
            let (row, down) = cell(y, height, cells);
            for x in 0..width {
                let (column, right) = cell(x, width, cells);
                let mix = |row| at(column, row) + (at(column + 1, row) - at(column, row)) * right;
                let (above, below) = (mix(row), mix(row + 1));
                sum[y * width + x] += amplitude * (above + (below - above) * down);
            }
        }
    }
    sum
}

/// The cell that a pixel lies in and how far in it, smoothed.
fn cell(place: usize, length: usize, cells: usize) -> (usize, f32) {
    let at = place as f32 / length as f32 * cells as f32;
    let whole = (at as usize).min(cells - 1);
    let part = at - whole as f32;
    (whole, part * part * (3.0 - 2.0 * part))
}

/// Covers part of the picture with an ellipse or a turned rectangle of some colour, shaded across.
fn object(pixels: &mut [f32], width: usize, height: usize, random: &mut Random) {
    let (x, y) = (random.unit() as f32 * width as f32, random.unit() as f32 * height as f32);
    let side = width.min(height) as f32;
    let radii = [0; 2].map(|_| side * random.between(0.06, 0.45) as f32);
    let (sine, cosine) = (random.between(0.0, std::f64::consts::TAU) as f32).sin_cos();
    let colour: [f32; 3] = std::array::from_fn(|_| random.unit() as f32);
    let (is_round, shade) = (random.below(2) == 0, random.between(-0.4, 0.4) as f32);
    for (place, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let (right, down) = ((place % width) as f32 - x, (place / width) as f32 - y);
        let along = (right * cosine + down * sine) / radii[0];
        let across = (down * cosine - right * sine) / radii[1];
        let is_inside =
            if is_round { along * along + across * across < 1.0 } else { along.abs().max(across.abs()) < 1.0 };
        if is_inside {
            for (value, colour) in pixel.iter_mut().zip(colour) {
                *value = (colour + shade * along).clamp(0.0, 1.0);
            }
        }
    }
}

/// Light, contrast and the sensor's noise.
fn expose(pixels: &mut [f32], random: &mut Random) {
    let (gain, gamma) = (random.between(0.6, 1.25) as f32, random.between(0.7, 1.5) as f32);
    let noise = random.between(0.0, 0.03) as f32;
    for value in pixels {
        *value = (gain * value.powf(gamma) + noise * random.normal() as f32).clamp(0.0, 1.0);
    }
}
