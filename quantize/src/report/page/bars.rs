//! Charts over all layers: one column for each, numbered as in the table.

use maud::{Markup, html};

use super::super::layers::Layer;
use super::super::numbers::short;
use super::chart::{self, Scale};
use super::layers::{decibels, range};

const LEFT: f64 = 52.0;
const TOP: f64 = 12.0;
const HEIGHT: f64 = 220.0;
const BOTTOM: f64 = HEIGHT - 26.0;

/// Columns: wide for few layers, narrow for many.
struct Columns {
    step: f64,
    count: usize,
}

impl Columns {
    fn of(layers: &[Layer]) -> Columns {
        Columns { step: (900.0 / layers.len().max(1) as f64).clamp(12.0, 36.0), count: layers.len() }
    }

    fn width(&self) -> f64 {
        LEFT + self.step * self.count as f64 + 8.0
    }

    /// The middle of a column.
    fn middle(&self, index: usize) -> f64 {
        LEFT + (index as f64 + 0.5) * self.step
    }

    /// Numbers under the columns, as many as have room.
    fn numbers(&self) -> Markup {
        let every = (28.0 / self.step).ceil().max(1.0) as usize;
        html! {
            @for index in (0..self.count).filter(|index| index % every == 0) {
                (chart::text(self.middle(index), HEIGHT - 8.0, "middle", &(index + 1).to_string()))
            }
        }
    }

    fn grid(&self, y: f64, label: &str) -> Markup {
        html! {
            (chart::line("grid", LEFT, y, self.width() - 8.0, y))
            (chart::text(LEFT - 6.0, y + 4.0, "end", label))
        }
    }
}

/// Signal to noise as a bar for each layer.
pub fn noise(layers: &[Layer]) -> Markup {
    let columns = Columns::of(layers);
    let known = layers.iter().filter_map(|layer| layer.decibels).filter(|d| *d < 200.0);
    let (low, high) = known.fold((0f64, 10f64), |(low, high), d| (low.min(d), high.max(d)));
    let y = Scale { low, high: high * 1.05, from: BOTTOM, to: TOP };
    let bar = columns.step * 0.7;
    let content = html! {
        @for tick in y.ticks(4) { (columns.grid(y.at(tick), &short(tick))) }
        @for (index, (layer, value)) in layers.iter().enumerate().filter_map(|(i, l)| Some((i, (l, l.decibels?)))) {
            @let (zero, end) = (y.at(0.0), y.at(value.min(y.high)));
            (chart::rect(
                if value < 10.0 { "bar low" } else { "bar" },
                columns.middle(index) - bar / 2.0,
                zero.min(end),
                bar,
                (zero - end).abs().max(1.0),
                &format!("{}. {} ({}): {}", index + 1, layer.node, layer.operator, decibels(value)),
            ))
        }
        (columns.numbers())
    };
    chart::svg(
        columns.width(),
        HEIGHT,
        "Signal to noise behind each layer in decibels; the table has the numbers",
        true,
        &content,
    )
}

/// What calibration saw as a line in the range that the levels cover.
pub fn ranges(layers: &[Layer]) -> Markup {
    let columns = Columns::of(layers);
    let ends = layers
        .iter()
        .filter_map(|layer| layer.range)
        .flat_map(|(low, high)| [low, high])
        .chain(layers.iter().filter_map(|layer| layer.seen).flat_map(|(low, high)| [low, high]));
    let ends: Vec<f64> = ends.map(f64::from).filter(|end| end.is_finite()).collect();
    let largest = ends.iter().fold(0f64, |most, end| most.max(end.abs())).max(1e-30);
    // Below this the scale is nearly linear: two decades are shown on each side of 0.
    let knee = largest / 100.0;
    let log = |value: f64| (value / knee).asinh();
    let (low, high) = ends.iter().fold((0f64, 0f64), |(low, high), end| (low.min(log(*end)), high.max(log(*end))));
    let y = Scale { low, high: high.max(low + 1.0), from: BOTTOM, to: TOP };
    let power = 10f64.powf(largest.log10().floor());
    let ticks = [-power, -power / 10.0, 0.0, power / 10.0, power];
    let (box_width, line_width) = (columns.step * 0.7, (columns.step * 0.2).max(2.0));
    let content = html! {
        @for tick in ticks.into_iter().filter(|tick| log(*tick) >= y.low && log(*tick) <= y.high) {
            (columns.grid(y.at(log(tick)), &short(tick)))
        }
        @for (index, layer) in layers.iter().enumerate() {
            @let tip = tip(index, layer);
            @if let Some(covered) = layer.range {
                (column("quantized", columns.middle(index), box_width, covered, &y, &log, &tip))
            }
            @if let Some(seen) = layer.seen {
                (column("seen", columns.middle(index), line_width, seen, &y, &log, &tip))
            }
        }
        (columns.numbers())
    };
    chart::svg(
        columns.width(),
        HEIGHT,
        "Ranges of each layer: what calibration saw and what the levels cover; the table has the numbers",
        true,
        &content,
    )
}

fn tip(index: usize, layer: &Layer) -> String {
    let covered = layer.range.map_or("float".to_string(), |covered| format!("levels cover {}", range(covered)));
    let seen = layer.seen.map(|seen| format!(", calibration saw {}", range(seen))).unwrap_or_default();
    format!("{}. {}: {covered}{seen}", index + 1, layer.node)
}

fn column(
    class: &str,
    middle: f64,
    width: f64,
    (low, high): (f32, f32),
    y: &Scale,
    log: &dyn Fn(f64) -> f64,
    tip: &str,
) -> Markup {
    let (bottom, top) = (y.at(log(f64::from(low))), y.at(log(f64::from(high))));
    chart::rect(class, middle - width / 2.0, top, width, (bottom - top).max(1.0), tip)
}
