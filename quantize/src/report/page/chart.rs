//! What all charts share: coordinates, round numbers on axes, the frame.

use maud::{Markup, PreEscaped, html};

/// A number in SVG: two decimals are finer than any screen.
pub fn n(value: f64) -> String {
    let text = format!("{:.2}", if value.is_finite() { value } else { 0.0 });
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// From values to places: `from` is where `low` lies, `to` where `high` lies.
#[derive(Clone, Copy)]
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub from: f64,
    pub to: f64,
}

impl Scale {
    pub fn at(&self, value: f64) -> f64 {
        let span = if self.high > self.low { self.high - self.low } else { 1.0 };
        self.from + (value - self.low) / span * (self.to - self.from)
    }

    /// About `count` round numbers between the ends: 1, 2 or 5 times a power of ten apart.
    pub fn ticks(&self, count: usize) -> Vec<f64> {
        let span = self.high - self.low;
        if !span.is_finite() || span <= 0.0 {
            return vec![self.low];
        }
        let rough = span / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|s| s * power).find(|step| *step >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last.min(first + 50)).map(|tick| tick as f64 * step).collect()
    }
}

/// An SVG of this size with a title for those who cannot see it; `is_wide` ones keep their size and are scrolled.
pub fn svg(width: f64, height: f64, title: &str, is_wide: bool, content: &Markup) -> Markup {
    let view = format!("0 0 {} {}", n(width), n(height));
    let natural = is_wide.then(|| format!("width:{}px", n(width)));
    html! {
        svg role="img" viewBox=(view) style=[natural] aria-label=(title) { (content) }
    }
}

/// A line.
pub fn line(class: &str, x1: f64, y1: f64, x2: f64, y2: f64) -> Markup {
    html! { line class=(class) x1=(n(x1)) y1=(n(y1)) x2=(n(x2)) y2=(n(y2)) {} }
}

/// A rectangle with a tooltip, where there is one.
pub fn rect(class: &str, x: f64, y: f64, width: f64, height: f64, tip: &str) -> Markup {
    html! {
        rect class=(class) x=(n(x)) y=(n(y)) width=(n(width.max(0.0))) height=(n(height.max(0.0))) {
            @if !tip.is_empty() { title { (tip) } }
        }
    }
}

/// Text; `anchor` is `start`, `middle` or `end`.
pub fn text(x: f64, y: f64, anchor: &str, content: &str) -> Markup {
    html! { text x=(n(x)) y=(n(y)) text-anchor=(anchor) { (content) } }
}

/// A path through points.
pub fn path(class: &str, points: impl Iterator<Item = (f64, f64)>, is_closed: bool) -> Markup {
    let mut data = String::new();
    for (x, y) in points {
        data.push(if data.is_empty() { 'M' } else { 'L' });
        data += &format!("{} {}", n(x), n(y));
    }
    if is_closed {
        data.push('Z');
    }
    html! { path class=(class) d=(PreEscaped(data)) {} }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let scale = |low, high| Scale { low, high, from: 0.0, to: 100.0 };
        assert_eq!(scale(0.0, 1.0).ticks(5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(scale(3.0, 42.0).ticks(4), [10.0, 20.0, 30.0, 40.0]);
        assert_eq!(scale(2.0, 2.0).ticks(4), [2.0]);
        assert_eq!(scale(0.0, 10.0).at(2.5), 25.0);
        assert_eq!([n(1.0), n(0.126), n(f64::NAN)], ["1", "0.13", "0"]);
    }
}
