//! The values of every layer and its weights, folded away until asked for.

use maud::{Markup, html};

use super::super::Report;
use super::super::histogram::Histogram;
use super::super::layers::{Layer, Weights};
use super::super::numbers::{grouped, percent, short};
use super::chart::{self, Scale};
use super::layers::{decibels, range};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 130.0;

/// One folded part for each layer.
pub fn section(report: &Report) -> Markup {
    let shown = |layer: &&Layer| layer.values.is_some() || layer.weights.is_some();
    let layers = || report.layers.iter().enumerate().filter(|(_, layer)| shown(layer));
    let count = layers().count();
    let list = html! { @for (index, layer) in layers() { (folded(index, layer)) } };
    let content = html! {
        p { "Heights are logarithmic. The shaded part of the activations is what the levels cover." }
        // A long list is folded once more.
        @if count > 40 {
            details { summary { "Histograms of " (grouped(count)) " layers" } div.inner { (list) } }
        } @else {
            (list)
        }
    };
    super::section("histograms", "Histograms", &content)
}

fn folded(index: usize, layer: &Layer) -> Markup {
    html! {
        details {
            summary {
                (index + 1) ". " span.name { (layer.node) } " " span.faint { (layer.operator) }
                @if let Some(value) = layer.decibels { " " span.faint { (decibels(value)) } }
            }
            div.pair { (activations(layer)) (layer.weights.as_ref().map(weights).unwrap_or_default()) }
        }
    }
}

fn activations(layer: &Layer) -> Markup {
    let covered = |end: &str| layer.range.map(|covered| format!("{}{end}", range(covered)));
    let Some(values) = &layer.values else {
        let range = covered(".")
            .map_or("It stays in float.".to_string(), |range| format!("The operator fixes the range: {range}"));
        return html! { p { (range) } };
    };
    html! {
        figure {
            (plot(values, layer.range, &format!("Activations of {}", layer.node)))
            figcaption {
                "Activations \"" span.name { (layer.tensor) } "\": " (grouped(values.counts.iter().sum::<u64>() as usize))
                " values in calibration from " (range((values.low, values.high)))
                @match covered("") {
                    Some(range) => { ", " (layer.levels) " levels cover " (range) " (" (layer.method) ")." }
                    None => ", in float."
                }
            }
        }
    }
}

fn weights(weights: &Weights) -> Markup {
    let Some(values) = &weights.values else { return html! {} };
    html! {
        figure {
            (plot(values, None, "Weights"))
            figcaption {
                "Weights: " (grouped(values.counts.iter().sum::<u64>() as usize)) " from " (range((values.low, values.high)))
                ", " (weights.levels)
                @if let Some((channels, least, largest)) = weights.scales {
                    ", " (grouped(channels)) " scales from " (short(f64::from(least))) " to " (short(f64::from(largest)))
                }
                @if let Some(zeros) = weights.zeros { ", " (percent(zeros)) " of the levels are 0" }
                @if let Some(value) = weights.decibels { ", " (decibels(value)) }
                "."
            }
        }
    }
}

fn plot(histogram: &Histogram, covered: Option<(f32, f32)>, title: &str) -> Markup {
    let ends = covered.unwrap_or((histogram.low, histogram.high));
    let low = f64::from(histogram.low.min(ends.0)).min(0.0);
    let high = f64::from(histogram.high.max(ends.1)).max(0.0);
    let x = Scale { low, high, from: 6.0, to: WIDTH - 6.0 };
    let most = histogram.counts.iter().copied().max().unwrap_or(0);
    let y = Scale { low: 0.0, high: (1.0 + most as f64).ln(), from: HEIGHT - 20.0, to: 6.0 };
    let width = (f64::from(histogram.high) - f64::from(histogram.low)) / histogram.counts.len().max(1) as f64;
    let edge = |bin: usize| x.at(f64::from(histogram.low) + width * bin as f64);
    let tops = histogram.counts.iter().enumerate().flat_map(|(bin, count)| {
        let top = y.at((1.0 + *count as f64).ln());
        [(edge(bin), top), (edge(bin + 1), top)]
    });
    let outline = [(edge(0), y.from)].into_iter().chain(tops).chain([(edge(histogram.counts.len()), y.from)]);
    let content = html! {
        @if let Some((low, high)) = covered {
            (chart::rect("covered", x.at(f64::from(low)), y.to, x.at(f64::from(high)) - x.at(f64::from(low)), y.from - y.to, ""))
        }
        (chart::path("area", outline, true))
        (chart::line("axis", x.from, y.from, x.to, y.from))
        @for tick in x.ticks(4) {
            (chart::text(x.at(tick).clamp(16.0, WIDTH - 16.0), HEIGHT - 5.0, "middle", &short(tick)))
        }
    };
    chart::svg(WIDTH, HEIGHT, title, false, &content)
}
