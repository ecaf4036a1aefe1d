//! What matters most, at the top; and what the model needs of a device.

use maud::{Markup, html};

use super::super::latency::BoardTime;
use super::super::numbers::{grouped, percent, short};
use super::super::share::Share;
use super::super::{Report, Score};
use super::chart::{self, Scale};

/// Size, quality, memory, time: one tile each.
fn tiles(report: &Report) -> Markup {
    let size = report.size;
    html! {
        dl.tiles {
            (tile("size of the file", &percent(size.ratio()), &format!(
                "of float: {} → {} bytes", grouped(size.float_bytes as usize), grouped(size.int8_bytes as usize)
            )))
            @for score in &report.scores {
                (tile(&score.metric, &percent(score.int8.value), &change(score)))
            }
            @if let Some(agreement) = &report.agreement {
                (tile("same answer as float", &percent(agreement.value), &interval(agreement)))
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

fn change(score: &Score) -> String {
    let points = 100.0 * (score.int8.value - score.float.value);
    format!("float {}, {points:+.2} points", percent(score.float.value))
}

fn interval(share: &Share) -> String {
    format!("{} to {}", percent(share.low), percent(share.high))
}

/// The tiles, and the table of quality with its intervals.
pub fn section(report: &Report) -> Markup {
    let rows: Vec<(String, Share)> = report
        .scores
        .iter()
        .flat_map(|score| {
            [(format!("{}, float", score.metric), score.float), (format!("{}, int8", score.metric), score.int8)]
        })
        .chain(report.agreement.map(|share| ("same answer".to_string(), share)))
        .collect();
    let content = html! {
        (tiles(report))
        @if rows.is_empty() {
            p { "No labelled samples were given (--eval), so accuracy is not known." }
        } @else {
            div.wide {
                table {
                    caption {
                        span {
                        "Quality on " (grouped(rows[0].1.samples))
                        " samples, with 95 % confidence intervals"
                        }
                    }
                    thead {
                        tr { th scope="col" { "measure" } th scope="col" { "value" } th scope="col" { "between" }
                            th scope="col" { span.hidden { "interval" } } }
                    }
                    tbody {
                        @for (what, share) in &rows {
                            tr {
                                th scope="row" { (what) }
                                td { (percent(share.value)) }
                                td { (interval(share)) }
                                td.chart { (whisker(share, &rows)) }
                            }
                        }
                    }
                }
            }
            @for (test, p) in report.scores.iter().filter_map(|score| score.chance.as_ref()) {
                p {
                    (test) ": p = " (short(*p))
                    @if *p < 0.05 { ", the change is more than chance." } @else { ", the change may be chance." }
                }
            }
        }
    };
    super::section("headline", "Result", &content)
}

/// The interval as a line with the value as a dot; all rows have one scale.
fn whisker(share: &Share, rows: &[(String, Share)]) -> Markup {
    let low = rows.iter().map(|(_, share)| share.low).fold(1.0, f64::min);
    let high = rows.iter().map(|(_, share)| share.high).fold(0.0, f64::max);
    let x = Scale { low, high, from: 6.0, to: 154.0 };
    let content = html! {
        (chart::line("whisker", x.at(share.low), 8.0, x.at(share.high), 8.0))
        circle.dot cx=(chart::n(x.at(share.value))) cy="8" r="4" {}
    };
    chart::svg(160.0, 16.0, &format!("{} between {}", percent(share.value), interval(share)), true, &content)
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
