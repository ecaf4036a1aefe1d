//! The page: one HTML file with everything in it.

mod bars;
mod chart;
mod flips;
mod headline;
mod histograms;
mod layers;
mod origin;
mod pareto;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;

const STYLE: &str = include_str!("page/style.css");

/// The report as HTML.
///
/// All text that comes from models, cards and files is escaped. Nothing is loaded: the style is inside, charts are SVG,
/// pictures are data URIs; the content security policy in the file says so to the browser.
pub fn page(report: &Report) -> String {
    let title = format!("{} in int8", file_name(&report.origin.model.path));
    let sections = [
        Some(headline::section(report)),
        Some(pareto::section(report)),
        flips::section(report),
        Some(layers::section(report)),
        Some(histograms::section(report)),
        Some(guards(report)),
        Some(headline::needs(report)),
        Some(origin::section(report)),
    ];
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (title) }
                    @for section in sections.iter().flatten() { (section) }
                }
            }
        }
    };
    markup.into_string()
}

/// A section with its heading; `id` is its anchor.
fn section(id: &str, heading: &str, content: &Markup) -> Markup {
    html! {
        section id=(id) {
            h2 { (heading) }
            (content)
        }
    }
}

/// What may be wider than the screen: it is scrolled by itself, with keys too.
fn scrolled(name: &str, content: &Markup) -> Markup {
    html! { div.wide role="region" aria-label=(name) tabindex="0" { (content) } }
}

/// What was repaired or prevented.
fn guards(report: &Report) -> Markup {
    let content = html! {
        @if report.guards.is_empty() {
            p { "None was needed." }
        } @else {
            div.wide {
                table {
                    caption { span { "What was repaired or prevented, and why" } }
                    thead {
                        tr { th scope="col" { "layer" } th.text scope="col" { "what" } th.text scope="col" { "why" } }
                    }
                    tbody {
                        @for guard in &report.guards {
                            tr {
                                th scope="row" .name {
                                    @if guard.layer.is_empty() { "the whole model" } @else { (guard.layer) }
                                }
                                td.text { (guard.what) }
                                td.text { (guard.why) }
                            }
                        }
                    }
                }
            }
        }
    };
    section("guards", "Repairs and guards", &content)
}

/// The last part of a path.
fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests;
