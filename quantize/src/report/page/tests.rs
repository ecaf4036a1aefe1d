use super::super::flips::{Flip, Flips, Verdict};
use super::super::histogram::Histogram;
use super::super::latency::{HostTime, Latency};
use super::super::layers::{Layer, Weights};
use super::super::occlusion::Map;
use super::super::origin::{Calibration, File, Origin};
use super::super::preview::{Kind, Preview};
use super::super::{Guard, Report, Size, Tried};
use super::page;
use crate::evaluate::statistics::share;
use crate::evaluate::{Evaluation, Measure};

/// What a name must not become.
const ATTACK: &str = "<script>alert(\"1\")</script>";

fn layer(name: &str) -> Layer {
    Layer {
        node: name.into(),
        operator: "Conv, Relu".into(),
        tensor: format!("{name}' onload=\"x"),
        decibels: Some(31.25),
        levels: "uint8".into(),
        method: "min-max".into(),
        seen: Some((-0.5, 3.0)),
        range: Some((-0.51, 2.5)),
        clipped: Some(0.0125),
        values: Histogram::of_values(&[-0.5, 0.0, 1.0, 3.0]),
        weights: Some(Weights {
            levels: "int8".into(),
            shape: vec![8, 3, 3, 3],
            values: Histogram::of_values(&[-0.25, 0.5]),
            scales: Some((8, 0.001, 0.004)),
            decibels: Some(42.5),
            zeros: Some(0.125),
        }),
        multiply_accumulates: Some(1_234_567),
    }
}

fn verdict(answer: &str) -> Verdict {
    let map = Map { columns: 2, rows: 1, drops: vec![0.25, -0.125] };
    Verdict { answer: answer.into(), score: 0.625, other: 0.3125, map: Some(map) }
}

fn flip(name: &str, kind: Kind) -> Flip {
    let (image, line) = match kind {
        Kind::Line => (String::new(), vec![0.0, 1.0, -1.0]),
        _ => ("data:image/png;base64,AAAA".into(), Vec::new()),
    };
    let preview = Preview { kind, width: 3, height: 1, image, line };
    Flip {
        sample: name.into(),
        label: Some("cat".into()),
        float: verdict("cat"),
        int8: verdict(name),
        preview: Some(preview),
    }
}

fn report(name: &str, layers: usize) -> Report {
    let file = |path: String| File { path, sha256: "ab".repeat(32) };
    Report {
        origin: Origin {
            tool: "quantize 0.1.0".into(),
            command: format!("quantize '{name}' --calib a.npz"),
            model: file(format!("models/{name}.onnx")),
            output: file("out.onnx".into()),
            calibration: Calibration { path: name.into(), samples: 150, ranges: vec![(name.into(), -1.0, 1.0)] },
            evaluation: Some((name.into(), 250)),
            ranges: "min-max".into(),
            inputs: vec![(name.into(), vec![1, 3, 8, 8]), ("second".into(), vec![1, 4])],
        },
        size: Size { float_bytes: 400_000, int8_bytes: 110_000 },
        memory: None,
        latency: Latency {
            multiply_accumulates: 5_000_000,
            host: Some(HostTime {
                median_ms: 1.5,
                fastest_ms: 1.25,
                runs: 300,
                kernels: "avx2".into(),
                architecture: "x86_64".into(),
            }),
            boards: Vec::new(),
        },
        quality: Some(Evaluation {
            samples: 250,
            accuracy: None,
            measures: vec![
                Measure {
                    name: ATTACK,
                    is_share: true,
                    float: Some(share(225, 250)),
                    int8: share(223, 250),
                    change: None,
                    p_value: Some(0.625),
                },
                Measure {
                    name: "same answer",
                    is_share: true,
                    float: None,
                    int8: share(245, 250),
                    change: None,
                    p_value: None,
                },
            ],
        }),
        layers: (0..layers).map(|_| layer(name)).collect(),
        guards: vec![Guard { layer: name.into(), what: name.into(), why: name.into() }],
        tried: vec![
            Tried { what: name.into(), bytes: 400_000, agreement: Some(1.0), accuracy: Some(0.9), is_chosen: false },
            Tried { what: "int8".into(), bytes: 110_000, agreement: Some(0.98), accuracy: None, is_chosen: true },
        ],
        flips: Some(Flips {
            samples: 250,
            lost: 2,
            won: 1,
            other: 3,
            shown: vec![flip(name, Kind::Picture), flip(name, Kind::Line)],
        }),
    }
}

#[test]
fn names_stay_text() {
    let page = page(&report(ATTACK, 2));
    assert!(!page.contains("<script") && !page.contains("alert(\"1\")"), "a name became an element");
    assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;"));
    // Tensor names stand in attributes.
    assert!(!page.contains("onload=\"x"), "a name ended an attribute");
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let page = page(&report("model", 3));
    for part in ["http:", "https:", "//cdn", "@import", "url(", "<link rel=\"stylesheet\"", "<script", "src="] {
        assert!(!page.contains(part), "{part}");
    }
    let references = page.match_indices("href=\"").map(|(place, found)| &page[place + found.len()..]);
    assert!(references.clone().count() > 2);
    for reference in references {
        assert!(reference.starts_with("data:") || reference.starts_with('#'), "{}", &reference[..40]);
    }
}

#[test]
fn numbers_are_shown() {
    let page = page(&report("model", 2));
    // 110,000 of 400,000 bytes; 223 of 250; 245 of 250; two right answers of 250 less; of the layer what stands above.
    let numbers = [
        "27.50 %",
        "400,000 → 110,000 bytes",
        "89.20 %",
        "98.00 %",
        "-0.80 points",
        "31.2 dB",
        "-0.51 … 2.5",
        "1.25 %",
        "42.5 dB",
        "1,234,567",
        "8×3×3×3",
        "12.50 %",
        "6 of 250 answers changed",
        "62.50 %",
        "31.25 %",
        "1.5 ms",
        "p = 0.625",
        "1×3×8×8",
    ];
    for number in numbers {
        assert!(page.contains(number), "{number}");
    }
}

#[test]
fn sections_without_data_are_left_out_or_say_so() {
    let anchors = ["headline", "tried", "flips", "layers", "histograms", "guards", "needs", "origin"];
    let mut report = report("model", 2);
    let full = page(&report);
    for anchor in anchors {
        assert!(full.contains(&format!("<section id=\"{anchor}\">")), "{anchor}");
    }
    report.flips = None;
    report.quality = None;
    report.guards.clear();
    report.tried.truncate(1);
    report.origin.evaluation = None;
    report.latency = Latency::default();
    let bare = page(&report);
    assert!(!bare.contains("id=\"flips\""));
    assert!(bare.contains("accuracy is not known") && bare.contains("None was needed"));
    report.layers.clear();
    assert!(page(&report).contains("id=\"layers\""));
}

#[test]
fn pages_of_large_models_stay_small() {
    let page = page(&report("stage4/stage4.1/depthwise/depthwise.0/Conv", 150));
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    // The table and the histograms are folded.
    assert!(!page.contains("<details open"), "150 layers are not folded");
    assert_eq!(page.matches("<summary>").count(), 152);
}

#[test]
fn elements_are_closed() {
    let page = page(&report("model", 3));
    for element in
        ["section", "figure", "svg", "table", "details", "div", "span", "path", "rect", "text", "image", "dl"]
    {
        let open = page.matches(&format!("<{element} ")).count() + page.matches(&format!("<{element}>")).count();
        assert_eq!(open, page.matches(&format!("</{element}>")).count(), "{element}");
    }
}
