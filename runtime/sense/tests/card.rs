//! The card file: what is read, what is refused and in which words.
#![cfg(feature = "card")]

use cygnet_sense::audio::Runs;
use cygnet_sense::card::{AudioInput, Input, Task};
use cygnet_sense::{BytesSpec, Card, CardError, Colour, Features, Filter, Fit, Layout, MelNorm, MelScale, SpeechSpec};

const OBJECTS: &str = r#"
name = "objects"
task = "classification"
description = "one line"
labels = ["airplane", "automobile"]

[input]
kind = "image"
name = "x"
width = 224
height = 192
colour = "bgr"
layout = "nhwc"
fit = "crop"
resize_shorter = 256
filter = "bicubic"
mean = [127.0, 126.5, 125]
scale = [0.0078125]

[source]
data = "where the training data comes from"
licence = "its licence"
code = "train.py"

[accuracy]
metric = "top1"
float = 0.912
samples = 10000
"#;

const WORDS: &str = r#"
name = "words"
task = "classification"
[input]
kind = "audio"
sample_rate = 8000
clip_samples = 8000
features = "mfcc"
window = 256
hop = 128
mels = 40
mel_low_hz = 60.0
mel_high_hz = 3800
mel_scale = "slaney"
mel_norm = "slaney"
floor = 1e-7
coefficients = 3
mean = [-6.0, 1.0, 2.0]
layout = "time-mel"
"#;

const VOICE: &str = r#"
name = "voice"
task = "other"
[input]
kind = "audio"
sample_rate = 16000
clip_samples = 576
features = "waveform"
[speech]
hop = 512
"#;

#[test]
fn a_card_tells_speech() {
    let spec = Card::parse(VOICE).unwrap().speech_spec().unwrap();
    assert_eq!(spec, SpeechSpec::new(16000, 512));
    assert_eq!((spec.least_speech, spec.least_silence, spec.padding), (4000, 1600, 480));
    let other = VOICE.replace("hop = 512", "threshold = 0.7\nleast_speech_ms = 10");
    let spec = Card::parse(&other).unwrap().speech_spec().unwrap();
    assert_eq!((spec.hop, spec.least_speech, spec.threshold), (576, 160, 0.7));
    assert!((spec.release - 0.55).abs() < 1e-6);
    assert_eq!(Card::parse(WORDS).unwrap().speech_spec(), None);
}

const KIND: &str = r#"
name = "kind"
task = "classification"
labels = ["text", "picture"]
[input]
kind = "bytes"
first = 1024
last = 512
padding = 256
"#;

#[test]
fn a_card_tells_which_bytes() {
    let spec = Card::parse(KIND).unwrap().bytes_spec().unwrap();
    assert_eq!(spec, BytesSpec { first: 1024, last: 512, block: 1024, padding: 256 });
    assert_eq!(spec.tensor_len(), 1536);
    assert_eq!(Card::parse(VOICE).unwrap().bytes_spec(), None);
}

const SPOKEN: &str = r#"
name = "spoken"
task = "other"
labels = ["", " no", " yes"]
[input]
kind = "audio"
sample_rate = 8000
clip_samples = 1792
features = "log-mel"
window = 256
hop = 128
mels = 40
[text]
decoder = "ctc"
hop = 1024
tail_ms = 500
"#;

#[test]
fn a_card_tells_spoken_text() {
    let card = Card::parse(SPOKEN).unwrap();
    assert_eq!(card.runs(), Some(Runs { hop: 1024, tail: 4000 }));
    assert_eq!(card.text.and_then(|text| text.pause_ms), None);
    // A model that is run once has none, one that tells speech those of speech.
    let once = SPOKEN.replace("hop = 1024\ntail_ms = 500", "");
    assert_eq!(Card::parse(&once).unwrap().runs(), None);
    assert_eq!(Card::parse(VOICE).unwrap().runs(), Some(Runs { hop: 512, tail: 0 }));
}

#[test]
fn a_picture_card() {
    let card = Card::parse(OBJECTS).unwrap();
    assert_eq!((card.name.as_str(), card.task, card.labels.len()), ("objects", Task::Classification, 2));
    assert_eq!(card.input_name(), Some("x"));
    assert_eq!(card.accuracy["float"].as_float(), Some(0.912));
    assert_eq!(card.source["code"].as_str(), Some("train.py"));
    let spec = card.image_spec().unwrap();
    assert_eq!((spec.width, spec.height, spec.colour, spec.layout), (224, 192, Colour::Bgr, Layout::Nhwc));
    assert_eq!((spec.fit, spec.filter), (Fit::Crop { resize_shorter: 256 }, Filter::Bicubic));
    assert_eq!((spec.mean, spec.scale), ([127.0, 126.5, 125.0], [0.0078125; 3]));
    assert!(card.audio_spec().is_none());
}

#[test]
fn a_sound_card() {
    let card = Card::parse(WORDS).unwrap();
    assert!(matches!(&card.input, Input::Audio(AudioInput { fft: None, .. })));
    let spec = card.audio_spec().unwrap();
    assert_eq!((spec.features, spec.fft, spec.frames(), spec.row_len()), (Features::Mfcc, 256, 61, 3));
    assert_eq!((spec.mel_scale, spec.mel_norm, spec.floor), (MelScale::Slaney, MelNorm::Slaney, 1e-7));
    assert_eq!((&spec.mean[..], &spec.scale[..]), (&[-6.0, 1.0, 2.0][..], &[1.0][..]));
    assert_eq!((spec.mel_low_hz, spec.mel_high_hz), (60.0, 3800.0));
}

#[test]
fn what_is_left_out_has_its_default() {
    let text = "name = \"a\"\ntask = \"features\"\n[input]\nkind = \"image\"\nwidth = 20\nheight = 30\n";
    let spec = Card::parse(text).unwrap().image_spec().unwrap();
    assert_eq!(spec, cygnet_sense::ImageSpec::new(20, 30, Colour::Rgb));
    let crop = Card::parse(&format!("{text}fit = \"crop\"")).unwrap().image_spec().unwrap();
    assert_eq!(crop.fit, Fit::Crop { resize_shorter: 30 });
    let text = "name = \"a\"\ntask = \"other\"\n[input]\nkind = \"audio\"\nsample_rate = 16000\n\
                clip_samples = 16000\nfeatures = \"waveform\"";
    assert_eq!(Card::parse(text).unwrap().audio_spec().unwrap().tensor_len(), 16000);
    let tensor = Card::parse("name = \"a\"\ntask = \"other\"\n[input]\nkind = \"tensor\"").unwrap();
    assert!(tensor.image_spec().is_none() && tensor.audio_spec().is_none() && tensor.labels.is_empty());
}

#[test]
fn a_written_card_reads_back() {
    for text in [
        OBJECTS,
        WORDS,
        VOICE,
        SPOKEN,
        KIND,
        "name = \"a\"\ntask = \"other\"\n[input]\nkind = \"tensor\"\nname = \"t\"",
    ] {
        let card = Card::parse(text).unwrap();
        let written = card.to_toml();
        assert_eq!(Card::parse(&written).unwrap(), card, "{written}");
    }
}

#[test]
fn a_message_names_the_field_and_the_mend() {
    let cases = [
        (OBJECTS, "width = 224", "widht = 224", "widht"),
        (OBJECTS, "width = 224", "", "missing field `width`"),
        (OBJECTS, "width = 224", "width = 0", "`input.width` must be between 1 and 65535"),
        (OBJECTS, "width = 224", "width = -3", "-3"),
        (OBJECTS, "colour = \"bgr\"", "colour = \"cmyk\"", "unknown variant `cmyk`, expected one of `rgb`"),
        (OBJECTS, "colour = \"bgr\"", "colour = \"grey\"", "`input.mean` must be one number"),
        (OBJECTS, "resize_shorter = 256", "resize_shorter = 100", "`input.resize_shorter` must be at least"),
        (OBJECTS, "fit = \"crop\"", "fit = \"pad\"", "`input.resize_shorter` must be left out"),
        (OBJECTS, "[0.0078125]", "[0.0]", "`input.scale` must be"),
        (OBJECTS, "name = \"objects\"", "name = \" \"", "`name` must be a name"),
        (OBJECTS, "task = \"classification\"", "task = \"magic\"", "unknown variant `magic`"),
        (OBJECTS, "kind = \"image\"", "kind = \"audio\"", "unknown field"),
        (OBJECTS, "kind = \"image\"", "", "missing field `kind`"),
        (OBJECTS, "[source]", "[sauce]", "unknown field `sauce`"),
        (WORDS, "window = 256", "", "`input.window` must be given for log-mel and mfcc features"),
        (WORDS, "mels = 40", "", "`input.mels` must be given"),
        (WORDS, "window = 256", "window = 5000", "`input.fft` must be a power of two from 64 to 2048"),
        (WORDS, "\"mfcc\"", "\"log-mel\"", "`input.coefficients` must be left out"),
        (WORDS, "mean = [-6.0, 1.0, 2.0]", "mean = [1.0, 2.0]", "`input.mean` must be one finite number, or"),
        (WORDS, "mel_high_hz = 3800", "mel_high_hz = 4800", "`input.mel_high_hz` must be at most half"),
        (WORDS, "time-mel", "mel-time", "mel-time"),
        (WORDS, "floor = 1e-7", "pre_emphasis = 2", "`input.pre_emphasis` must be within 0 and 1"),
        (WORDS, "floor = 1e-7", "convention = \"htk\"", "unknown variant `htk`"),
        (WORDS, "[input]", "[speech]\n[input]", "`input.features` must be \"waveform\" where there is [speech]"),
        (VOICE, "hop = 512", "hop = 600", "`speech.hop` must be at most `clip_samples`"),
        (VOICE, "hop = 512", "padding_ms = 60", "`speech.padding_ms` must be at most half of `least_silence_ms`"),
        (VOICE, "hop = 512", "threshold = 1.5", "`speech.threshold` must be within 0 and 1"),
        (VOICE, "hop = 512", "hop = 0", "`speech.hop` must be at least 1"),
        (VOICE, "[speech]", "[text]\ndecoder = \"ctc\"\n[speech]", "`text` must be left out where there is [speech]"),
        (KIND, "first = 1024", "first = 1024\nblock = 1000", "`input.block` must be at least `first` and `last`"),
        (KIND, "first = 1024\nlast = 512", "first = 0", "`input.block` must be between 1 and 16777216"),
        (SPOKEN, "hop = 1024", "hop = 1000", "`text.hop` must be a multiple of `hop` of the input"),
        (SPOKEN, "hop = 1024", "hop = 2048", "`text.hop` must be at most `clip_samples`"),
        (SPOKEN, "hop = 1024", "", "`text.tail_ms` must be left out, or `hop` be given"),
        (SPOKEN, "hop = 1024", "hop = 1024\nbeams = 8", "`text.beams` must be left out where `hop` is given"),
        (SPOKEN, "mels = 40", "mels = 40\npadding = \"zeros\"", "`input.padding` must be \"none\""),
        (
            OBJECTS,
            "[input]",
            "[text]\ndecoder = \"ctc\"\nhop = 8\n[input]",
            "`input.kind` must be \"audio\" where [text]",
        ),
    ];
    for (text, from, to, message) in cases {
        assert!(text.contains(from), "{from}");
        let error = Card::parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(message), "{to}: {error}");
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let boxes = |key: &str| format!("[boxes]\ndecoder = \"ssd\"\n{key}\n[source]");
    let anchors = |keys: &str| boxes(&format!("[[boxes.anchors]]\n{keys}"));
    let within = "must be within 0 and 1";
    let cases = [
        (OBJECTS, boxes("score_threshold = nan"), "`boxes.score_threshold`", "must be a finite number"),
        (OBJECTS, boxes("scores = \"softmax\"\nscore_threshold = 50.0"), "`boxes.score_threshold`", within),
        (OBJECTS, boxes("iou_threshold = -0.5"), "`boxes.iou_threshold`", within),
        (OBJECTS, boxes("iou_threshold = inf"), "`boxes.iou_threshold`", within),
        (OBJECTS, boxes("variances = [0.1, 0.1, nan, 0.2]"), "`boxes.variances`", "must be finite numbers above 0"),
        (OBJECTS, boxes("variances = [0.1, 0.1, 0.0, 0.2]"), "`boxes.variances`", "must be finite numbers above 0"),
        (
            OBJECTS,
            anchors("stride = 0.0\nscales = [8.0]\nratios = [1.0]"),
            "`boxes.anchors.stride`",
            "must be at least one pixel",
        ),
        (
            OBJECTS,
            anchors("stride = 8.0\noffset = nan\nscales = [8.0]\nratios = [1.0]"),
            "`boxes.anchors.offset`",
            "must be a finite number",
        ),
        (OBJECTS, "[dims]\nbatch = 0\n[source]".to_string(), "`dims.batch`", "must be at least 1"),
        (VOICE, "[speech]\nthreshold = nan".to_string(), "`speech.threshold`", within),
        (VOICE, "[speech]\nrelease = -0.1".to_string(), "`speech.release`", "must be within 0 and `threshold`"),
        (SPOKEN, "[text]\nblank = 4".to_string(), "`text.blank`", "must be the index of one of `labels`"),
    ];
    for (text, to, field, mend) in cases {
        let from = ["[speech]", "[text]", "[source]"].into_iter().find(|table| text.contains(table)).unwrap();
        let error = Card::parse(&text.replacen(from, &to, 1)).unwrap_err().to_string();
        assert!(error.contains(field) && error.contains(mend), "{to}: {error}");
    }
    let masked = "name = \"a\"\ntask = \"segmentation\"\nlabels = [\"cat\"]\n[input]\nkind = \"image\"\nwidth = 4\n\
                  height = 4\n[mask]\nform = \"threshold\"\nthreshold = nan";
    let error = Card::parse(masked).unwrap_err().to_string();
    assert!(error.contains("`mask.threshold` must be a finite number"), "{error}");
    let tensors = "name = \"a\"\ntask = \"detection\"\nlabels = [\"cat\"]\n[input]\nkind = \"tensor\"\n[boxes]\n\
                   decoder = \"rows\"";
    let error = Card::parse(tensors).unwrap_err().to_string();
    assert!(error.contains("`input.kind` must be \"image\" where there is [boxes]"), "{error}");
}

#[test]
fn keypoints_that_cannot_be_used_are_named_with_the_mend() {
    let body = |table: &str| {
        let head =
            "name = \"a\"\ntask = \"keypoints\"\n[input]\nkind = \"image\"\nwidth = 4\nheight = 4\n[keypoints]\n";
        Card::parse(&format!("{head}{table}"))
    };
    let usable = body(
        "form = \"coordinates\"\nnames = [\"nose\", \"ear\"]\npairs = [[0, 1]]\nthreshold = 0.3\nunits = \"share\"\n\
         order = \"yx\"",
    )
    .unwrap();
    assert_eq!(Card::parse(&usable.to_toml()).unwrap(), usable);
    assert!(usable.keypoint_decoder(&[1, 1, 2, 3]).is_some());
    // Of another number of points, or without the scores that the threshold needs.
    assert!(usable.keypoint_decoder(&[1, 1, 3, 3]).is_none() && usable.keypoint_decoder(&[1, 4]).is_none());
    for (table, message) in [
        ("form = \"planes\"\nnames = []", "`keypoints.names` must be the names of 1 … 65,535 points"),
        (
            "form = \"planes\"\nnames = [\"nose\", \"ear\"]\npairs = [[0, 2]]",
            "`keypoints.pairs` must be pairs of two different numbers of `names`, from 0",
        ),
        ("form = \"planes\"\nnames = [\"nose\"]\npairs = [[0, 0]]", "`keypoints.pairs` must be"),
        ("form = \"planes\"\nnames = [\"nose\"]\nthreshold = nan", "`keypoints.threshold` must be a finite number"),
        (
            "form = \"planes\"\nnames = [\"nose\"]\norder = \"xy\"",
            "`keypoints.order` must be left out, or `form` be \"coordinates\"",
        ),
        ("form = \"pixels\"\nnames = [\"nose\"]\nunits = \"share\"", "`keypoints.units` must be left out, or"),
        (
            "form = \"coordinates\"\nnames = [\"nose\"]\nquarter_shift = true",
            "`keypoints.quarter_shift` must be left out where `form` is \"coordinates\"",
        ),
        (
            "form = \"coordinates\"\nnames = [\"nose\"]\nplace_point = \"corner\"",
            "`keypoints.place_point` must be left out where",
        ),
        ("form = \"planes\"\nnames = [\"nose\"]\n[mask]\nform = \"classes\"", "`labels` must be"),
        (
            "form = \"planes\"\nnames = [\"nose\"]\n[boxes]\ndecoder = \"rows\"",
            "`labels` must be given where there are boxes",
        ),
    ] {
        let error = body(table).unwrap_err().to_string();
        assert!(error.contains(message), "{table}: {error}");
    }
    let tensors = "name = \"a\"\ntask = \"keypoints\"\n[input]\nkind = \"tensor\"\n[keypoints]\nform = \"planes\"\n\
                   names = [\"nose\"]";
    let error = Card::parse(tensors).unwrap_err().to_string();
    assert!(error.contains("`input.kind` must be \"image\" where there is [keypoints]"), "{error}");
    let both = "name = \"a\"\ntask = \"keypoints\"\nlabels = [\"cat\"]\n[input]\nkind = \"image\"\nwidth = 4\nheight = 4\n\
                [mask]\nform = \"threshold\"\n[keypoints]\nform = \"planes\"\nnames = [\"nose\"]";
    let error = Card::parse(both).unwrap_err().to_string();
    assert!(error.contains("`keypoints` must be left out where there is [boxes] or [mask]"), "{error}");
}

#[test]
fn a_blank_behind_all_labels_needs_no_name() {
    let blank = |number: u32| SPOKEN.replace("[text]", &format!("[text]\nblank = {number}"));
    assert_eq!(Card::parse(&blank(3)).unwrap().text.map(|text| text.blank), Some(3));
}

#[test]
fn a_missing_file_is_named() {
    let error = Card::load("no/such/card.toml").unwrap_err();
    assert!(matches!(error, CardError::Read { .. }));
    assert!(error.to_string().contains("no/such/card.toml"));
}
