//! What matters most, at the top; and what the model needs of a device.

use maud::{Markup, html};

use super::super::Report;
use super::super::latency::BoardTime;
use super::super::numbers::{grouped, percent, short};
use super::chart::{self, Scale};
use crate::evaluate::statistics::Estimate;
use crate::evaluate::{Evaluation, Measure};

/// Size, quality, memory, time: one tile each.
fn tiles(report: &Report) -> Markup {
    let size = report.size;
    html! {
        dl.tiles {
            (tile("size of the file", &percent(size.ratio()), &format!(
                "of float: {} → {} bytes", grouped(size.float_bytes as usize), grouped(size.int8_bytes as usize)
            )))
            @for measure in report.quality.iter().flat_map(|quality| &quality.measures) {
                (tile(measure.name, &shown(measure, measure.int8.value), &note(measure)))
            }
            @if let Some(memory) = &report.memory {
                (tile("RAM: arena", &grouped(memory.arena_bytes), "bytes"))
                (tile("flash: plan", &grouped(memory.plan_bytes), "bytes"))
            }
            @if let Some(host) = &report.latency.host {
                (tile("latency here", &format!("{} ms", short(host.median_ms)), &format!(
                    "median; fastest {} ms; one thread, {} kernels", short(host.fastest_ms), host.kernels
                )))
            }
        }
    }
}

fn tile(what: &str, value: &str, note: &str) -> Markup {
    html! {
        div {
            dt { (what) }
            dd { strong { (value) } span { (note) } }
        }
    }
}

/// A figure of a measure.
fn shown(measure: &Measure, value: f64) -> String {
    if measure.is_share { percent(value) } else { short(value) }
}

/// What float has, or where a figure of both lies.
fn note(measure: &Measure) -> String {
    let Some(float) = measure.float else { return interval(measure, &measure.int8) };
    let change = measure.int8.value - float.value;
    let change = if measure.is_share { format!("{:+.2} points", 100.0 * change) } else { format!("{change:+.4}") };
    format!("float {}, {change}", shown(measure, float.value))
}

fn interval(measure: &Measure, estimate: &Estimate) -> String {
    format!("{} to {}", shown(measure, estimate.low), shown(measure, estimate.high))
}

/// The tiles, and the table of quality with its intervals.
pub fn section(report: &Report) -> Markup {
    let content = html! {
        (tiles(report))
        @match &report.quality {
            Some(quality) => (table(quality)),
            None => p { "No samples were given to evaluate on (--eval), so accuracy is not known." }
        }
    };
    super::section("headline", "Result", &content)
}

fn table(quality: &Evaluation) -> Markup {
    let row = |measure: &'static str| move |estimate: Estimate, model: &str| (format!("{measure}{model}"), estimate);
    html! {
        div.wide {
            table {
                caption {
                    span { "Quality on " (grouped(quality.samples)) " samples, with 95 % confidence intervals" }
                }
                thead {
                    tr { th scope="col" { "measure" } th scope="col" { "value" } th scope="col" { "between" }
                        th scope="col" { span.hidden { "interval" } } }
                }
                tbody {
                    @for measure in &quality.measures {
                        @let named = row(measure.name);
                        @let float = measure.float.map(|float| named(float, ", float"));
                        @let int8 = named(measure.int8, if float.is_some() { ", int8" } else { "" });
                        @for (what, estimate) in float.into_iter().chain([int8]) {
                            tr {
                                th scope="row" { (what) }
                                td { (shown(measure, estimate.value)) }
                                td { (interval(measure, &estimate)) }
                                td.chart { @if measure.is_share { (whisker(measure, &estimate, quality)) } }
                            }
                        }
                    }
                }
            }
        }
        @for (measure, p) in quality.measures.iter().filter_map(|measure| Some((measure, measure.p_value?))) {
            p {
                (measure.name) ", McNemar's exact test: p = " (short(p))
                @if p < 0.05 { ", the change is more than chance." } @else { ", the change may be chance." }
            }
        }
    }
}

/// The interval as a line with the value as a dot; all shares have one scale.
fn whisker(measure: &Measure, estimate: &Estimate, quality: &Evaluation) -> Markup {
    let shares = quality.measures.iter().filter(|measure| measure.is_share);
    let all: Vec<Estimate> = shares.flat_map(|measure| measure.float.into_iter().chain([measure.int8])).collect();
    let low = all.iter().map(|estimate| estimate.low).fold(1.0, f64::min);
    let high = all.iter().map(|estimate| estimate.high).fold(0.0, f64::max);
    let x = Scale { low, high, from: 6.0, to: 154.0 };
    let content = html! {
        (chart::line("whisker", x.at(estimate.low), 8.0, x.at(estimate.high), 8.0))
        circle.dot cx=(chart::n(x.at(estimate.value))) cy="8" r="4" {}
    };
    let title = format!("{} between {}", percent(estimate.value), interval(measure, estimate));
    chart::svg(160.0, 16.0, &title, true, &content)
}

/// Memory and time on devices.
pub fn needs(report: &Report) -> Markup {
    let content = html! {
        @if let Some(memory) = &report.memory {
            div.wide {
                table {
                    caption { span { "What the plan needs" } }
                    thead { tr { th scope="col" { "" } th scope="col" { "bytes" } } }
                    tbody {
                        (row("RAM: arena", memory.arena_bytes))
                        (row("largest set alive at once", memory.live_bytes))
                        (row("scratch in it, at most", memory.scratch_bytes))
                        (row("flash: plan", memory.plan_bytes))
                        (row("weights and other constants in it", memory.constant_bytes))
                    }
                }
            }
            @if memory.fallbacks.is_empty() {
                p { (grouped(memory.steps)) " steps, all with a native kernel." }
            } @else {
                p {
                    (grouped(memory.steps)) " steps, " (grouped(memory.fallbacks.len()))
                    " of them through tract, which small boards do not have:"
                }
                ul {
                    @for step in &memory.fallbacks {
                        li { span.name { (step.node) } ": " (step.reason) }
                    }
                }
            }
        } @else {
            p { "The int8 model cannot become a plan; the messages of the run say why." }
        }
        (time(report))
    };
    super::section("needs", "Memory and time", &content)
}

fn row(what: &str, bytes: usize) -> Markup {
    html! { tr { th scope="row" { (what) } td { (grouped(bytes)) } } }
}

fn time(report: &Report) -> Markup {
    let latency = &report.latency;
    html! {
        @if let Some(host) = &latency.host {
            p {
                "Here (" (host.architecture) ", one thread, " (host.kernels) " kernels): median " (short(host.median_ms))
                " ms, fastest " (short(host.fastest_ms)) " ms of " (grouped(host.runs)) " runs of "
                (grouped(latency.multiply_accumulates as usize)) " multiply-accumulates."
            }
        }
        @if !latency.boards.is_empty() {
            div.wide {
                table {
                    caption {
                        span {
                        "Boards, one core, predicted: instructions from the plan's steps by rates that were fitted to counts in "
                        "QEMU, \"give or take\" being the largest error of that fit; time at one instruction in each cycle of "
                        "the clock. No board has been timed."
                        }
                    }
                    thead {
                        tr { th scope="col" { "board" } th scope="col" { "instructions" } th scope="col" { "give or take" }
                            th scope="col" { "clock" } th scope="col" { "time" } th scope="col" { "RAM" }
                            th scope="col" { "flash, file" } th.text scope="col" { "fits" } }
                    }
                    tbody { @for board in &latency.boards { (board_row(board)) } }
                }
            }
        } @else if latency.host.is_some() {
            p { "Boards are not predicted: the plan has layers in float, or steps through tract, which were not counted." }
        }
    }
}

fn board_row(board: &BoardTime) -> Markup {
    let work = &board.work;
    html! {
        tr {
            th scope="row" title=(work.title) { (work.board) }
            td { (grouped(work.instructions as usize)) }
            td { (format!("{:.0} %", 100.0 * work.deviation)) }
            td { (grouped(work.megahertz as usize)) " MHz" }
            td { (short(work.milliseconds)) " ms" }
            td { (grouped(board.ram)) }
            td { (grouped(board.flash)) }
            td.text { @match &board.refusal { None => "yes", Some(why) => { "no: " (why) } } }
        }
    }
}
