//! What was tried: quality against size.

use maud::{Markup, html};

use super::super::numbers::{grouped, percent};
use super::super::{Report, Tried};
use super::chart::{self, Scale};

/// The chart and its numbers.
pub fn section(report: &Report) -> Markup {
    let content = html! {
        div.charts {
        (plot(&report.tried))
        div.wide {
            table {
                caption { span { "What was tried" } }
                thead {
                    tr { th scope="col" { "" } th scope="col" { "bytes" } th scope="col" { "same answer" }
                        th scope="col" { "accuracy" } }
                }
                tbody {
                    @for tried in &report.tried {
                        tr.chosen[tried.is_chosen] {
                            th scope="row" { (tried.what) @if tried.is_chosen { " (written)" } }
                            td { (grouped(tried.bytes as usize)) }
                            td { (tried.agreement.map(percent).unwrap_or_default()) }
                            td { (tried.accuracy.map(percent).unwrap_or_default()) }
                        }
                    }
                }
            }
        }
        }
    };
    super::section("tried", "What was tried", &content)
}

/// Those that no other beats in both, from small to large.
fn front<'t>(points: &[(&'t Tried, f64)]) -> Vec<(&'t Tried, f64)> {
    let mut front: Vec<_> = points.to_vec();
    front.sort_by(|a, b| a.0.bytes.cmp(&b.0.bytes).then(b.1.total_cmp(&a.1)));
    let mut best = f64::NEG_INFINITY;
    front.retain(|(_, quality)| {
        let is_better = *quality > best;
        best = best.max(*quality);
        is_better
    });
    front
}

fn plot(tried: &[Tried]) -> Markup {
    let points: Vec<(&Tried, f64)> = tried.iter().filter_map(|t| Some((t, t.agreement.or(t.accuracy)?))).collect();
    if points.len() < 2 {
        return html! {};
    }
    let (width, height) = (420.0, 280.0);
    let most = points.iter().map(|(t, _)| t.bytes).max().unwrap_or(1) as f64 * 1.05;
    let least = points.iter().map(|(_, quality)| *quality).fold(1.0, f64::min);
    let bottom = (least - (1.0 - least).max(0.002) * 0.25).max(0.0);
    let x = Scale { low: 0.0, high: most, from: 56.0, to: width - 12.0 };
    let y = Scale { low: bottom, high: 1.0, from: height - 40.0, to: 30.0 };
    let front = front(&points);
    let mut steps = Vec::new();
    for (tried, quality) in &front {
        let (at, to) = (x.at(tried.bytes as f64), y.at(*quality));
        if let Some(&(_, before)) = steps.last() {
            steps.push((at, before));
        }
        steps.push((at, to));
    }
    let content = html! {
        @for tick in y.ticks(4) {
            (chart::line("grid", x.from, y.at(tick), x.to, y.at(tick)))
            (chart::text(x.from - 6.0, y.at(tick) + 4.0, "end", format!("{:.4}", 100.0 * tick).trim_end_matches('0').trim_end_matches('.')))
        }
        @for tick in x.ticks(4) {
            (chart::text(x.at(tick), height - 22.0, "middle", &bytes(tick)))
        }
        (chart::line("axis", x.from, y.from, x.to, y.from))
        (chart::text(x.to, height - 5.0, "end", "size of the file →"))
        (chart::text(4.0, 11.0, "start", "same answer as float, %"))
        (chart::path("front", steps.into_iter(), false))
        @for (tried, quality) in &points {
            circle class=(if tried.is_chosen { "dot chosen" } else { "dot" })
                cx=(chart::n(x.at(tried.bytes as f64))) cy=(chart::n(y.at(*quality)))
                r=(if tried.is_chosen { "7" } else { "5" }) {
                title { (tried.what) ": " (grouped(tried.bytes as usize)) " bytes, " (percent(*quality)) }
            }
        }
    };
    html! {
        figure {
            (chart::svg(width, height, "Share of equal answers against the size of the file", false, &content))
            figcaption { span { "Up and left is better; the line joins what nothing else beats. The large dot was written." } }
        }
    }
}

/// Bytes on an axis.
fn bytes(bytes: f64) -> String {
    match bytes {
        b if b >= 1e6 => format!("{} MB", super::super::numbers::short(b / 1e6)),
        b if b >= 1e3 => format!("{} kB", super::super::numbers::short(b / 1e3)),
        b => format!("{b} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_what_nothing_beats() {
        let tried = |bytes, agreement| Tried {
            what: String::new(),
            bytes,
            agreement: Some(agreement),
            accuracy: None,
            is_chosen: false,
        };
        let all = [tried(400, 1.0), tried(100, 0.9), tried(120, 0.88), tried(100, 0.95), tried(200, 0.97)];
        let points: Vec<_> = all.iter().map(|t| (t, t.agreement.unwrap())).collect();
        let front: Vec<_> = front(&points).iter().map(|(t, quality)| (t.bytes, *quality)).collect();
        assert_eq!(front, [(100, 0.95), (200, 0.97), (400, 1.0)]);
    }
}
