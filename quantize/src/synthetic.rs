//! Samples where there are none: made from what the card, or the model itself, tells of its input.
//!
//! - A model of pictures gets pictures of textures, shapes and edges with the spectrum of photographs, prepared as the
//!   card says; a model of sound gets speech-like sound the same way.
//! - Without a card the input's shape tells pictures from other tensors, and the model tells the size of the numbers: a
//!   trained network with its normalization folded into the weights gives each layer about unit deviation, so that
//!   scale of the input is taken at which the layers come nearest to it.
//!
//! Nothing here depends on anything but the model, the card and a number: the same samples come in every run.

mod natural;
mod picture;
mod sound;

use cygnet::Card;
use cygnet::input::InputSpec;
use cygnet_onnx::model::{DType, Model};
use cygnet_sense::audio::AudioSpec;
use cygnet_sense::image::ImageSpec;
use cygnet_sense::{Output, Pixels};

use crate::error::QuantizeError;
use crate::random::Random;
pub(crate) use natural::Amplitude;

/// Samples of a set.
pub const SAMPLES: usize = 128;
/// Where the numbers begin.
const SEED: u64 = 0x0c19_7e70;

/// How samples are made.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Picture(Box<ImageSpec>),
    Sound(Box<AudioSpec>),
    Tensors(Vec<Amplitude>),
}

/// A set of made samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthetic {
    kind: Kind,
    inputs: Vec<(DType, InputSpec)>,
}

impl Synthetic {
    /// Samples for a model with these inputs, whose shapes are fixed.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] where the card does not suit the inputs, [`QuantizeError::Reference`] where the model
    /// cannot be run.
    pub fn of(model: &Model, card: Option<&Card>, inputs: &[(DType, InputSpec)]) -> Result<Synthetic, QuantizeError> {
        let with = |kind| Synthetic { kind, inputs: inputs.to_vec() };
        let elements = |spec: &InputSpec| spec.shape.iter().product::<usize>();
        let kind = match (card.and_then(Card::image_spec), card.and_then(Card::audio_spec), inputs) {
            (Some(spec), _, [(_, input)]) if spec.tensor_len() == elements(input) => Kind::Picture(Box::new(spec)),
            (_, Some(spec), [(_, input)]) if spec.tensor_len() == elements(input) => Kind::Sound(Box::new(spec)),
            (Some(_), ..) | (_, Some(_), _) => {
                let problem = "what the card makes does not fit the model's input; mend width, height, mels or frames";
                return Err(QuantizeError::data("synthetic data", problem));
            }
            _ => Kind::Tensors(natural::amplitudes(model, inputs, |amplitudes, index| {
                with(Kind::Tensors(amplitudes.to_vec())).sample(index)
            })?),
        };
        Ok(with(kind))
    }

    /// What the samples are, for people.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Picture(_) => "pictures of textures and shapes, prepared as the card says".into(),
            Kind::Sound(_) => "speech-like sound, prepared as the card says".into(),
            Kind::Tensors(amplitudes) => {
                let inputs = self.inputs.iter().zip(amplitudes);
                let each = inputs.map(|((_, spec), amplitude)| format!("\"{}\" as {amplitude}", spec.name));
                format!("{}, guessed from the model: a card would say it", each.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Sample `index`: the elements of every input in the order of its shape.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] where the card's preparation cannot be done.
    pub fn sample(&self, index: usize) -> Result<Vec<Vec<f32>>, QuantizeError> {
        let mut random = Random::new(SEED.wrapping_add((index as u64) << 20));
        let failed = |error: cygnet_sense::Error| QuantizeError::data("synthetic data", error.to_string());
        match &self.kind {
            Kind::Picture(spec) => {
                // A little larger than the tensor, so that resizing and cropping have something to do.
                let side = |length: u32| (length as usize * 5 / 4).clamp(32, 1024);
                let (width, height) = (side(spec.width), side(spec.height));
                let rgb = picture::paint(width, height, index, &mut random);
                let bytes: Vec<u8> = rgb.iter().map(|value| (value * 255.0).round() as u8).collect();
                let pixels = Pixels::rgb8(&bytes, width as u32, height as u32).map_err(failed)?;
                let mut values = vec![0.0; spec.tensor_len()];
                let mut scratch = vec![0; spec.scratch_bytes(width as u32, height as u32)];
                spec.prepare(&pixels, &mut Output::F32(&mut values), spec.layout, &mut scratch).map_err(failed)?;
                Ok(vec![values])
            }
            Kind::Sound(spec) => {
                let samples = sound::speak(spec.clip_samples as usize, spec.sample_rate, index, &mut random);
                let mut values = vec![0.0; spec.tensor_len()];
                let mut scratch = vec![0.0; spec.scratch_len()];
                spec.prepare(&samples, &mut Output::F32(&mut values), &mut scratch).map_err(failed)?;
                Ok(vec![values])
            }
            Kind::Tensors(amplitudes) => {
                let each = self.inputs.iter().zip(amplitudes);
                Ok(each.map(|((dtype, spec), by)| tensor(*dtype, &spec.shape, *by, index, &mut random)).collect())
            }
        }
    }
}

/// A tensor of nothing known but its shape and the size of its numbers.
fn tensor(dtype: DType, shape: &[usize], amplitude: Amplitude, index: usize, random: &mut Random) -> Vec<f32> {
    let elements = shape.iter().product();
    if dtype != DType::F32 {
        return (0..elements).map(|_| random.below(2) as f32).collect();
    }
    match (natural::picture_shape(shape), amplitude) {
        (Some(picture), Amplitude::Span(low, high)) => {
            let rgb = picture::paint(picture.width, picture.height, index, random);
            let place = |element: usize| picture.place(element);
            (0..elements).map(|element| low + (high - low) * rgb[place(element)]).collect()
        }
        (_, Amplitude::Span(low, high)) => (0..elements).map(|_| low + (high - low) * random.unit() as f32).collect(),
        (_, Amplitude::Deviation(deviation)) => {
            smooth(elements, *shape.last().unwrap_or(&1), random).iter().map(|value| deviation * value).collect()
        }
    }
}

/// Normal numbers of deviation 1 that change slowly along the last axis and from row to row, as sounds and readings do.
fn smooth(elements: usize, row: usize, random: &mut Random) -> Vec<f32> {
    /// How alike neighbours are.
    const ALIKE: f32 = 0.7;
    let fresh = (1.0 - ALIKE * ALIKE).sqrt();
    let mut values: Vec<f32> = Vec::with_capacity(elements);
    let mut along = 0.0;
    for element in 0..elements {
        let is_start = element % row.max(1) == 0;
        let noise = random.normal() as f32;
        along = if is_start { noise } else { ALIKE * along + fresh * noise };
        let above = element.checked_sub(row).filter(|_| row < elements).and_then(|above| values.get(above));
        values.push(above.map_or(along, |above| ALIKE * above + fresh * along));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(input: &str) -> Card {
        Card::parse(&format!("name = \"x\"\ntask = \"classification\"\n[input]\n{input}")).unwrap()
    }

    fn made(card: &Card, shape: &[usize]) -> Synthetic {
        let spec = InputSpec { name: "x".into(), shape: shape.to_vec(), kept: false };
        Synthetic::of(&Model::default(), Some(card), &[(DType::F32, spec)]).unwrap()
    }

    fn range(values: &[f32]) -> (f32, f32) {
        values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
    }

    #[test]
    fn pictures_fill_the_range_that_the_card_makes() {
        let made = made(
            &card("kind = \"image\"\nwidth = 24\nheight = 16\nscale = [0.0078125]\nmean = [127.0]"),
            &[1, 3, 16, 24],
        );
        let all: Vec<f32> = (0..32).flat_map(|index| made.sample(index).unwrap().remove(0)).collect();
        assert_eq!(all.len(), 32 * 3 * 16 * 24);
        // (0 - 127) / 128 and (255 - 127) / 128.
        let (low, high) = range(&all);
        assert!((-0.9921875..-0.9).contains(&low) && (0.9..=1.0).contains(&high), "{low} … {high}");
        assert_eq!(made.sample(3).unwrap(), made.sample(3).unwrap());
        assert_ne!(made.sample(3).unwrap(), made.sample(7).unwrap());
    }

    #[test]
    fn sounds_reach_from_silence_to_full_scale() {
        let audio = card("kind = \"audio\"\nsample_rate = 16000\nclip_samples = 16000\nfeatures = \"waveform\"");
        let made = made(&audio, &[1, 16000]);
        let loudness = |index: usize| {
            let (low, high) = range(&made.sample(index).unwrap()[0]);
            high.max(-low)
        };
        let loudest: Vec<f32> = (0..64).map(loudness).collect();
        let (least, most) = range(&loudest);
        assert!(least == 0.0 && most > 0.5 && most <= 1.0, "{least} … {most}");
        let quiet = loudest.iter().filter(|loudest| (1e-5..0.02).contains(*loudest)).count();
        assert!((1..32).contains(&quiet), "{quiet}");
    }

    #[test]
    fn a_card_that_does_not_fit_is_refused() {
        let spec = InputSpec { name: "x".into(), shape: vec![1, 3, 5, 5], kept: false };
        let card = card("kind = \"image\"\nwidth = 24\nheight = 16");
        let refused = Synthetic::of(&Model::default(), Some(&card), &[(DType::F32, spec)]);
        assert!(refused.unwrap_err().to_string().contains("does not fit"));
    }

    #[test]
    fn smooth_numbers_are_normal_and_alike() {
        let values = smooth(40_000, 40, &mut Random::new(3));
        let mean_of = |of: &dyn Fn(usize) -> f32| (41..40_000).map(of).map(f64::from).sum::<f64>() / 39_959.0;
        let variance = mean_of(&|i| values[i] * values[i]);
        let below = mean_of(&|i| values[i] * values[i - 40]);
        assert!((variance - 1.0).abs() < 0.08 && (below - 0.7).abs() < 0.08, "{variance} {below}");
    }
}
