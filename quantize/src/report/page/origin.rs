//! How the result came about, and how to make it again.

use maud::{Markup, html};

use super::super::Report;
use super::super::numbers::grouped;
use super::layers::range;

/// Command, versions, hashes, samples.
pub fn section(report: &Report) -> Markup {
    let origin = &report.origin;
    let content = html! {
        pre tabindex="0" { code { (origin.command) } }
        dl.facts {
            dt { "program" } dd { (origin.tool) }
            dt { "float model" } dd { span.name { (origin.model.path) } br; span.hash { "SHA-256 " (origin.model.sha256) } }
            dt { "int8 model" } dd { span.name { (origin.output.path) } br; span.hash { "SHA-256 " (origin.output.sha256) } }
            dt { "inputs" }
            dd {
                @for (name, shape) in &origin.inputs {
                    div { span.name { (name) } " " (shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")) }
                }
            }
            dt { "ranges" } dd { (origin.ranges) }
            dt { "calibration" }
            dd {
                span.name { (origin.calibration.path) } ", " (grouped(origin.calibration.samples)) " samples"
                @for (input, low, high) in &origin.calibration.ranges {
                    div { span.name { (input) } ": values from " (range((*low, *high))) }
                }
            }
            @if let Some((path, samples)) = &origin.evaluation {
                dt { "evaluation" } dd { span.name { (path) } ", " (grouped(*samples)) " samples" }
            }
        }
    };
    super::section("origin", "Made by", &content)
}
