//! `quantize demo`: the whole way on the bundled models.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use quantize::Effort;
use quantize::params::Activations;
use quantize::recipe::WeightForm;
use quantize::tail::Outputs;

use super::quantize::{Arguments as QuantizeArguments, RangeKind, work};
use super::summary::Summary;
use super::table::{self, grouped, percent};

/// The bundled models; each in a folder of its name with its card, `calib.npz`, `eval.npz` and `samples/`.
const MODELS: [&str; 3] = ["fashion", "objects", "digits-speech"];

/// What a sample file's name may end in.
const SAMPLE_ENDS: [&str; 5] = ["png", "jpg", "jpeg", "bmp", "wav"];

/// What `demo` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of the bundled models [default: models/ of the project]
    #[arg(long, value_name = "FOLDER")]
    pub models: Option<PathBuf>,
    /// The folder to write to [default: target/demo inside the project, else cygnet-demo in the temporary folder]
    #[arg(short, long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}

/// Quantizes and evaluates every bundled model, then lets each plan classify one sample.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (models, output) = folders(arguments)?;
    std::fs::create_dir_all(&output).with_context(|| output.display().to_string())?;
    let mut rows = vec![head()];
    let mut failed = 0;
    let mut complain = |name: &str, error: anyhow::Error| {
        failed += 1;
        eprintln!("quantize: {name}: {}", crate::message(&error));
    };
    let mut made = Vec::new();
    for name in MODELS {
        log::info!("{name}: quantizing and evaluating");
        let start = Instant::now();
        match compress(name, &models, &output) {
            Ok(summary) => {
                rows.push(row(name, &summary, start.elapsed().as_secs_f64()));
                made.push(name);
            }
            Err(error) => complain(name, error),
        }
    }
    if !made.is_empty() {
        super::tell(&format!("{}\n", table::text(&rows)))?;
    }
    for name in made {
        match classify(&models.join(name).join("samples"), &plan_path(name, &output)) {
            Ok(line) => super::tell(&line)?,
            Err(error) => complain(name, error),
        }
    }
    super::tell(&format!("\nint8 models (.onnx) and plans (.cyg): {}\n", output.display()))?;
    if failed > 0 {
        bail!("the demo is not complete: {failed} of its parts failed, see above");
    }
    Ok(())
}

fn plan_path(name: &str, output: &Path) -> PathBuf {
    output.join(format!("{name}.int8.cyg"))
}

fn compress(name: &str, models: &Path, output: &Path) -> anyhow::Result<Summary> {
    let folder = models.join(name);
    work(&QuantizeArguments {
        model: folder.join(format!("{name}.onnx")),
        calib: folder.join("calib.npz"),
        eval: Some(folder.join("eval.npz")),
        output: Some(output.join(format!("{name}.int8.onnx"))),
        plan: Some(plan_path(name, output)),
        report: None,
        card: None,
        ranges: RangeKind::Auto,
        percentile: 100.0,
        effort: Effort::default(),
        threads: None,
        prune: None,
        float: Vec::new(),
        int16: Vec::new(),
        max_drop: None,
        max_size: None,
        max_ram: None,
        min_size: false,
        no_mixed: false,
        no_equalize: false,
        activations: Activations::default(),
        bad_samples: None,
        cache: None,
        weights: WeightForm::default(),
        outputs: Outputs::default(),
        json: false,
    })
}

fn head() -> Vec<String> {
    let sizes = ["model", "float bytes", "int8 bytes", "ratio"];
    let rest = ["float top-1", "int8 top-1", "same answer", "RAM bytes", "plan bytes", "seconds"];
    sizes.iter().chain(&rest).map(ToString::to_string).collect()
}

fn row(name: &str, summary: &Summary, seconds: f64) -> Vec<String> {
    let shares = summary.accuracy.as_ref();
    let share = |share: Option<f64>| share.map(percent).unwrap_or_default();
    let memory = summary.memory.as_ref();
    vec![
        name.into(),
        grouped(summary.float_bytes as usize),
        grouped(summary.int8_bytes as usize),
        format!("{:.3}", summary.ratio()),
        share(shares.map(|s| s.float_top1)),
        share(shares.map(|s| s.int8_top1)),
        share(shares.map(|s| s.agreement)),
        memory.map(|m| grouped(m.arena_bytes)).unwrap_or_default(),
        memory.map(|m| grouped(m.plan_bytes)).unwrap_or_default(),
        format!("{seconds:.1}"),
    ]
}

/// Runs the plan at `plan` on the first file of `samples`: a line with the three best answers.
fn classify(samples: &Path, plan: &Path) -> anyhow::Result<String> {
    let file = first_sample(samples)?;
    let model = cygnet::Model::load(plan)?;
    let sample = model.data_set(&file)?.sample(0)?;
    let mut session = model.session()?;
    for (index, values) in sample.inputs.iter().enumerate() {
        session.set_f32(index, values)?;
    }
    session.run()?;
    let answers = session.top(3)?;
    let shown = answers.iter().enumerate().filter(|(place, answer)| *place == 0 || answer.score >= 0.0005);
    let answers: Vec<_> = shown.map(|(_, a)| format!("{} {:.1} %", a.label, 100.0 * a.score)).collect();
    let folder = samples.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{folder}/samples/{name}: {}\n", answers.join(", ")))
}

/// The picture or recording in `folder` whose name is first in the alphabet.
fn first_sample(folder: &Path) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let is_sample = |path: &PathBuf| {
        let end = path.extension().map(|end| end.to_string_lossy().to_lowercase());
        end.is_some_and(|end| SAMPLE_ENDS.contains(&&*end))
    };
    let first = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_sample).min();
    first.ok_or_else(|| anyhow!("{}: holds no picture and no WAV to show; put one there", folder.display()))
}

/// Where the models are and where to write.
fn folders(arguments: &Arguments) -> anyhow::Result<(PathBuf, PathBuf)> {
    let project = project();
    let models = match (&arguments.models, &project) {
        (Some(models), _) => models.clone(),
        (None, Some(project)) => project.join("models"),
        (None, None) => {
            bail!("the bundled models are not found; start in the project's folder or give --models FOLDER")
        }
    };
    let here = std::env::current_dir().and_then(std::fs::canonicalize);
    let inside = project.filter(|project| here.is_ok_and(|here| here.starts_with(project)));
    let output = match (&arguments.output, inside) {
        (Some(output), _) => output.clone(),
        (None, Some(project)) => project.join("target/demo"),
        (None, None) => std::env::temp_dir().join("cygnet-demo"),
    };
    Ok((models, output))
}

/// The folder with the bundled models in `models/`: above the current one, above the program, or where it was built.
fn project() -> Option<PathBuf> {
    let places = [std::env::current_dir().ok(), std::env::current_exe().ok(), Some(env!("CARGO_MANIFEST_DIR").into())];
    let places = places.into_iter().flatten().filter_map(|place| place.canonicalize().ok());
    let holds = |folder: &&Path| folder.join("models").join(MODELS[0]).is_dir() && folder.join("quantize").is_dir();
    places.filter_map(|place| place.ancestors().find(holds).map(Path::to_path_buf)).next()
}
