//! Every layer in a table, and its noise as a bar.

use maud::{Markup, html};

use super::super::Report;
use super::super::layers::Layer;
use super::super::numbers::{grouped, percent, short};
use super::{bars, scrolled};

/// The charts and the table.
pub fn section(report: &Report) -> Markup {
    let layers = &report.layers;
    let content = html! {
        p {
            "Numbered in the order of the graph. Signal to noise compares the int8 model with the float model behind each "
            "layer, the errors of all layers before it included; 6 dB are one bit."
        }
        div.charts {
            @if layers.iter().any(|layer| layer.decibels.is_some()) {
                figure {
                    (scrolled("Signal to noise", &bars::noise(layers)))
                    figcaption { span { "Signal to noise behind each layer, in decibels: higher is better." } }
                }
            }
            figure {
                (scrolled("Ranges", &bars::ranges(layers)))
                figcaption {
                    span.key.quantized {} " what the levels cover, " span.key.seen {} " what calibration saw. The scale is "
                    "logarithmic on both sides of 0."
                }
            }
        }
        details open[layers.len() <= 40] {
            summary { "Table of " (grouped(layers.len())) " layers" }
            (scrolled("Layers", &table(layers)))
        }
    };
    super::section("layers", "Layer by layer", &content)
}

fn table(layers: &[Layer]) -> Markup {
    let heads = [
        "no.",
        "layer",
        "operator",
        "signal to noise",
        "calibration saw",
        "levels cover",
        "cut off",
        "levels",
        "range drawn by",
        "weights",
        "weights: signal to noise",
        "multiply-accumulates",
    ];
    html! {
        table {
            caption { span { "Tensors that are computed, and the layers that make them" } }
            thead {
                tr { @for head in heads { th scope="col" .text[is_text(head)] { (head) } } }
            }
            tbody {
                @for (index, layer) in layers.iter().enumerate() {
                    tr {
                        td { (index + 1) }
                        th scope="row" .name title=(layer.tensor) { (layer.node) }
                        td.text { (layer.operator) }
                        td { (layer.decibels.map(decibels).unwrap_or_default()) }
                        td { (layer.seen.map(range).unwrap_or_default()) }
                        td { (layer.range.map(range).unwrap_or_default()) }
                        td { (layer.clipped.filter(|share| *share > 0.0).map(small_share).unwrap_or_default()) }
                        td.text { (layer.levels) }
                        td.text { (layer.method) }
                        td.text {
                            @if let Some(weights) = &layer.weights {
                                (weights.levels) " "
                                (weights.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×"))
                            }
                        }
                        td { (layer.weights.as_ref().and_then(|w| w.decibels).map(decibels).unwrap_or_default()) }
                        td { (layer.multiply_accumulates.map(|m| grouped(m as usize)).unwrap_or_default()) }
                    }
                }
            }
        }
    }
}

/// Whether a column holds words.
fn is_text(head: &str) -> bool {
    ["layer", "operator", "levels", "range drawn by", "weights"].contains(&head)
}

/// Signal to noise; nothing lost is no number.
pub fn decibels(decibels: f64) -> String {
    if decibels >= 200.0 { "exact".into() } else { format!("{decibels:.1} dB") }
}

/// Two ends.
pub fn range((low, high): (f32, f32)) -> String {
    format!("{} … {}", short(f64::from(low)), short(f64::from(high)))
}

/// A share that may be far below a percent.
fn small_share(share: f64) -> String {
    if share < 0.0001 { "< 0.01 %".into() } else { percent(share) }
}
