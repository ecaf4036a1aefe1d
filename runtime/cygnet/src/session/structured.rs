//! Answers that are more than a score for each class.

use cygnet_sense::answers::read_ctc;
use cygnet_sense::card::TextDecoder;
use cygnet_sense::ctc::{Beam, CtcRoom, Prefix, search_ctc};
use cygnet_sense::{Colour, ImageSpec, Placement};

use super::Session;
use crate::error::Error;
use crate::found::{Found, boxes};
use crate::keypoints::BodyPoint;
use crate::mask::Mask;

impl Session {
    /// The boxes that the outputs tell, the best first; `None` where the card does not say how outputs become boxes. They
    /// are in pixels of the picture that `placement` is of, see
    /// [`ImageSpec::placement`](cygnet_sense::ImageSpec::placement); else in pixels of the input.
    ///
    /// # Errors
    /// [`Error::Boxes`] where the outputs have another form than the card says.
    pub fn boxes(&mut self, placement: Option<&Placement>) -> Result<Option<Vec<Found>>, Error> {
        let Some(decoder) = self.model.card().and_then(|card| card.box_decoder()) else { return Ok(None) };
        let mut outputs = vec![Vec::new(); self.model.plan().output_count()];
        for (index, values) in outputs.iter_mut().enumerate() {
            self.output_f32(index, values)?;
        }
        let labels = self.model.labels();
        let label = |class: usize| labels.get(class).cloned().unwrap_or_else(|| class.to_string());
        Ok(Some(boxes(&decoder, &outputs, placement, label)?))
    }

    /// The class of each pixel that the first output tells; `None` where the card does not say how it does. The pixels are
    /// those of the picture that `placement` is of, else those of the input.
    ///
    /// # Errors
    /// [`Error::NoMask`] where the output has another shape than the card says.
    pub fn mask(&mut self, placement: Option<&Placement>) -> Result<Option<Mask>, Error> {
        let model = self.model.clone();
        let Some((card, wanted)) = model.card().and_then(|card| Some((card, card.mask.as_ref()?))) else {
            return Ok(None);
        };
        let port = model.plan().output(0).ok_or(Error::NoScores)?;
        let decoder = card.mask_decoder(port.dims()).ok_or_else(|| Error::NoMask {
            output: model.plan().text(port.name).to_string(),
            shape: port.dims().to_vec(),
            form: wanted.form.name(),
            classes: card.labels.len(),
        })?;
        let mut output = Vec::new();
        self.output_f32(0, &mut output)?;
        let placement = match placement {
            Some(placement) => *placement,
            None => {
                ImageSpec::new(decoder.width, decoder.height, Colour::Grey).placement(decoder.width, decoder.height)?
            }
        };
        let mut classes = Vec::new();
        decoder.paint(&output, &placement, |_, _, class| {
            classes.push(class.filter(|_| class != wanted.background).map(|class| class as u16));
        })?;
        let labels = model.labels();
        let label = |class: usize| labels.get(class).cloned().unwrap_or_else(|| class.to_string());
        Ok(Some(Mask::new(placement.source_width, placement.source_height, classes, label)))
    }

    /// The points of a body that the first output tells, in the order of their names and without those below the card's
    /// threshold; `None` where the card does not say how it does. They are in pixels of the picture that `placement` is
    /// of, within it; else in pixels of the input.
    ///
    /// # Errors
    /// [`Error::NoKeypoints`] where the output has another shape than the card says.
    pub fn keypoints(&mut self, placement: Option<&Placement>) -> Result<Option<Vec<BodyPoint>>, Error> {
        let model = self.model.clone();
        let Some((card, wanted)) = model.card().and_then(|card| Some((card, card.keypoints.as_ref()?))) else {
            return Ok(None);
        };
        let port = model.plan().output(0).ok_or(Error::NoScores)?;
        let decoder = card.keypoint_decoder(port.dims()).ok_or_else(|| Error::NoKeypoints {
            output: model.plan().text(port.name).to_string(),
            shape: port.dims().to_vec(),
            form: wanted.form.name(),
            points: wanted.names.len(),
            scores: if wanted.threshold.is_some() { " and scores for `threshold`" } else { "" },
        })?;
        let mut output = Vec::new();
        self.output_f32(0, &mut output)?;
        decoder.check(&output)?;
        let point = |(number, name): (usize, &String)| {
            let point = decoder.point(&output, number)?;
            let (x, y) = placement.map_or((point.x, point.y), |placement| placement.within(point.x, point.y));
            Some(BodyPoint { number, name: name.clone(), x, y, score: point.score })
        };
        Ok(Some(wanted.names.iter().enumerate().filter_map(point).collect()))
    }

    /// The text that the first output tells and how sure the model is of it, the mean over its characters (with beams the
    /// geometric mean, of the probability of the whole text); `None` where the card does not say how the output becomes
    /// text.
    ///
    /// # Errors
    /// [`Error::NoScores`] where the model has no output.
    pub fn text(&mut self) -> Result<Option<(String, f32)>, Error> {
        let model = self.model.clone();
        let Some(wanted) = model.card().and_then(|card| card.text.as_ref()) else { return Ok(None) };
        let scores = self.scores()?;
        let classes = model.plan().output(0).and_then(|port| port.dims().last().copied()).unwrap_or(0) as usize;
        if classes == 0 {
            return Err(Error::NoScores);
        }
        let labels = model.labels();
        let (mut text, mut sum, mut count) = (String::new(), 0.0, 0);
        let label = |class: usize| labels.get(class).map_or("\u{fffd}", String::as_str);
        match wanted.decoder {
            TextDecoder::Ctc if wanted.beams > 0 => {
                let (width, moments) = (usize::from(wanted.beams), scores.len() / classes);
                let mut beams = vec![Beam::default(); 2 * width];
                let mut prefixes = vec![Prefix::default(); CtcRoom::prefixes(moments, width)];
                let mut moment = vec![0.0; classes];
                let room = CtcRoom { beams: &mut beams, prefixes: &mut prefixes, moment: &mut moment };
                let sure = search_ctc(&scores, classes, wanted.blank as usize, room, |class| {
                    text.push_str(label(class));
                    count += 1;
                })?;
                return Ok(Some((text, if count == 0 { 0.0 } else { (sure / count as f64).exp() as f32 })));
            }
            TextDecoder::Ctc => read_ctc(&scores, classes, wanted.blank as usize, |class, score| {
                text.push_str(label(class));
                sum += score;
                count += 1;
            }),
            _ => return Ok(None),
        }
        Ok(Some((text, if count == 0 { 0.0 } else { sum / count as f32 })))
    }
}
