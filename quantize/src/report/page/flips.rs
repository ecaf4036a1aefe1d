//! The samples whose answer changed, with where each model looks.

use image::ExtendedColorType;
use maud::{Markup, html};

use super::super::Report;
use super::super::flips::{Flip, Verdict};
use super::super::numbers::{grouped, percent};
use super::super::occlusion::Map;
use super::super::preview::{Kind, Preview, encoded};
use super::chart::{self, Scale};

/// What is red at its strongest hides this much of the picture.
const OPACITY: f32 = 220.0;

/// The counts and the pictures; nothing without evaluation samples.
pub fn section(report: &Report) -> Option<Markup> {
    let flips = report.flips.as_ref()?;
    let has_maps = flips.shown.iter().any(|flip| flip.float.map.is_some());
    let content = html! {
        p {
            (grouped(flips.count())) " of " (grouped(flips.samples)) " answers changed: "
            (grouped(flips.lost)) " right ones were lost, " (grouped(flips.won)) " wrong ones became right, "
            (grouped(flips.other)) " changed between wrong answers."
            @if flips.shown.len() < flips.count() { " Shown are " (grouped(flips.shown.len())) "." }
        }
        @if has_maps {
            p {
                "Where each model finds its answer: a grey patch slides over the sample. " span.key.drop {}
                " marks where covering it lowers the answer's score, " span.key.rise {} " where it raises it "
                "(Zeiler and Fergus, arXiv 1311.2901)."
            }
        }
        div.flips { @for (index, flip) in flips.shown.iter().enumerate() { (card(index, flip)) } }
    };
    Some(super::section("flips", "Answers that changed", &content))
}

fn card(index: usize, flip: &Flip) -> Markup {
    // One scale for both maps: they are to be compared.
    let maps = [&flip.float.map, &flip.int8.map].into_iter().flatten();
    let strongest = maps.flat_map(|map| &map.drops).fold(1e-6f32, |most, drop| most.max(drop.abs()));
    html! {
        article.flip {
            h3.name { (flip.sample) }
            p {
                @match &flip.label {
                    Some(label) => { "It is " strong { (label) } "." }
                    None => { "Nobody said what it is." }
                }
            }
            div.looks {
                @if let Some(preview) = &flip.preview {
                    @let definition = format!("sample{index}");
                    (look("sample", preview, Some((&definition, true)), None, strongest, "", ""))
                    (look("float", preview, Some((&definition, false)), flip.float.map.as_ref(), strongest, &flip.float.answer, &score(&flip.float)))
                    (look("int8", preview, Some((&definition, false)), flip.int8.map.as_ref(), strongest, &flip.int8.answer, &score(&flip.int8)))
                } @else {
                    p { "float: " strong { (flip.float.answer) } " " (score(&flip.float)) }
                    p { "int8: " strong { (flip.int8.answer) } " " (score(&flip.int8)) }
                }
            }
            p.faint {
                "Float gives int8's answer " (percent(f64::from(flip.float.other))) ", int8 gives float's "
                (percent(f64::from(flip.int8.other))) "."
            }
        }
    }
}

fn score(verdict: &Verdict) -> String {
    percent(f64::from(verdict.score))
}

/// The sample, covered by a map where there is one. `definition` names the picture, and says whether it stands here or is
/// only used.
fn look(
    what: &str,
    preview: &Preview,
    definition: Option<(&str, bool)>,
    map: Option<&Map>,
    strongest: f32,
    answer: &str,
    score: &str,
) -> Markup {
    let (width, height) =
        if preview.kind == Kind::Line { (240.0, 120.0) } else { (preview.width as f64, preview.height as f64) };
    let title = match map {
        Some(map) => {
            let (drop, x, y) = map.largest();
            format!(
                "{what}: most of the score, {:.1} points, is lost {:.0} % from the left and {:.0} % from the top",
                100.0 * drop,
                100.0 * x,
                100.0 * y
            )
        }
        None => what.to_string(),
    };
    let overlay =
        map.and_then(|map| encoded(&colours(map, strongest), map.columns, map.rows, ExtendedColorType::Rgba8));
    let content = html! {
        @if preview.kind == Kind::Line {
            @if let Some(overlay) = &overlay { (stretched(overlay, width, height)) }
            (line(&preview.line, width, height))
        } @else {
            @match definition {
                Some((id, true)) => {
                    image.pixels id=(id) href=(preview.image) width=(width) height=(height) {}
                }
                Some((id, false)) => { use href=(format!("#{id}")) {} }
                None => {}
            }
            @if let Some(overlay) = &overlay { (stretched(overlay, width, height)) }
        }
    };
    html! {
        figure.look {
            (chart::svg(width, height, &title, false, &content))
            figcaption { (what) @if !answer.is_empty() { ": " strong { (answer) } " " (score) } }
        }
    }
}

fn stretched(image: &str, width: f64, height: f64) -> Markup {
    html! { image href=(image) width=(width) height=(height) preserveAspectRatio="none" {} }
}

fn line(values: &[f32], width: f64, height: f64) -> Markup {
    let (low, high) = values.iter().fold((0f32, 0f32), |(l, h), &v| (l.min(v), h.max(v)));
    let x = Scale { low: 0.0, high: values.len().saturating_sub(1) as f64, from: 0.0, to: width };
    let y = Scale { low: f64::from(low), high: f64::from(high), from: height - 2.0, to: 2.0 };
    let points = values.iter().enumerate().map(|(index, value)| (x.at(index as f64), y.at(f64::from(*value))));
    chart::path("curve", points, false)
}

/// A map in vermilion where the score drops and blue where it rises; the strongest of both maps hides most.
fn colours(map: &Map, strongest: f32) -> Vec<u8> {
    let pixel = |drop: &f32| {
        let [red, green, blue] = if *drop >= 0.0 { [213, 94, 0] } else { [0, 114, 178] };
        [red, green, blue, (drop.abs() / strongest * OPACITY).clamp(0.0, 255.0) as u8]
    };
    map.drops.iter().flat_map(pixel).collect()
}
