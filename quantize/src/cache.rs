//! What calibration saw, kept on disk: the next run on the same model and data goes on from there.
//!
//! A file's name is the hash of everything that its content depends on: this program's version, the prepared model,
//! the tensors observed, the data's bytes and how they are prepared. Its first line tells format and checksum; the rest
//! is JSON. It is replaced as a whole, half a minute after the last time, when work is interrupted, and at the end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Prepared;
use crate::calibrate::{Distributions, Seen, calibrate, observe};
use crate::data::{Data, Screening};
use crate::equalize::Watch;
use crate::error::QuantizeError;
use crate::files;

/// Changes with the form of the files.
const FORMAT: &str = "cygnet calibration 2";
/// Between two writes while the work goes on.
const NOW_AND_THEN: Duration = Duration::from_secs(30);

/// One file of the cache.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
}

/// What a file holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    /// Whether all samples were seen.
    is_complete: bool,
    seen: Seen,
    /// The judgements on the samples so far.
    screening: Screening,
}

/// [`calibrate`] with a cache in `folder`, where there is one: what is known is not computed again. What `watch` wants is
/// not kept.
///
/// # Errors
/// As [`calibrate`]; [`QuantizeError::File`] where the folder cannot be made. A file that cannot be read is told and
/// made anew; one that cannot be written is told.
pub fn calibrated(
    prepared: &Prepared,
    tensors: &[String],
    data: &Data,
    folder: Option<&Path>,
    watch: Option<&mut Watch>,
    mut step: impl FnMut(),
) -> Result<Distributions, QuantizeError> {
    let Prepared { model, dims, .. } = prepared;
    let Some(folder) = folder else {
        return calibrate(model, tensors, dims, data.samples(), watch, step);
    };
    if let Some(watch) = watch {
        watch.run(model, dims, data.samples())?;
    }
    let cache = Cache::open(folder, &key(prepared, tensors, data)?)?;
    let mut entry = cache.read().unwrap_or_else(|| Entry {
        is_complete: false,
        seen: Seen::none_of(tensors),
        screening: data.screening(),
    });
    data.restore(entry.screening.clone());
    (0..entry.seen.samples).for_each(|_| step());
    if entry.is_complete {
        log::info!("calibration is taken from {}", cache.path.display());
        return Ok(entry.seen.distributions);
    }
    if entry.seen.samples > 0 {
        log::info!("calibration goes on behind sample {} of {}", entry.seen.samples, cache.path.display());
    }
    let mut written = Instant::now();
    let samples = data.samples_from(entry.seen.samples);
    let result = observe(model, dims, samples, &mut entry.seen, None, |seen| {
        step();
        if written.elapsed() >= NOW_AND_THEN {
            cache.write(&Entry { is_complete: false, seen: seen.clone(), screening: data.screening() });
            written = Instant::now();
        }
    });
    entry.is_complete = result.is_ok();
    entry.screening = data.screening();
    // Other errors are found again at once in the next run.
    if matches!(result, Ok(()) | Err(QuantizeError::Interrupted)) {
        cache.write(&entry);
    }
    result.map(|()| entry.seen.distributions)
}

/// The hash of all that calibration depends on.
fn key(prepared: &Prepared, tensors: &[String], data: &Data) -> Result<String, QuantizeError> {
    let mut hasher = Sha256::new();
    let mut add = |part: &[u8]| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(FORMAT.as_bytes());
    add(env!("CARGO_PKG_VERSION").as_bytes());
    add(&prepared.model.to_bytes());
    add(format!("{:?}", prepared.dims).as_bytes());
    tensors.iter().for_each(|tensor| add(tensor.as_bytes()));
    add(&data.content_hash()?);
    Ok(hex(&hasher.finalize()[..16]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Cache {
    /// The file of `key` in `folder`, which is made where it is missing.
    fn open(folder: &Path, key: &str) -> Result<Cache, QuantizeError> {
        let failed = |source| QuantizeError::File {
            path: folder.into(),
            source,
            mend: "give --cache a folder that can be written to".into(),
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        Ok(Cache { path: folder.join(format!("{key}.calibration")) })
    }

    /// What is known; nothing where there is no file, or a damaged one, which is told.
    fn read(&self) -> Option<Entry> {
        let bytes = std::fs::read(&self.path).ok()?;
        let entry = content(&bytes).and_then(|json| serde_json::from_slice(json).ok());
        if entry.is_none() {
            log::warn!("{}: the cache is damaged; calibration begins anew", self.path.display());
        }
        entry
    }

    /// Keeps `entry`; a failure is told and costs nothing but time in the next run.
    fn write(&self, entry: &Entry) {
        let written = serde_json::to_vec(entry)
            .map_err(|error| error.to_string())
            .and_then(|json| files::replace(&self.path, &sealed(&json)).map_err(|error| error.to_string()));
        if let Err(problem) = written {
            log::warn!("calibration is not kept: {problem}");
        }
    }
}

/// `json` behind a line with format and checksum.
fn sealed(json: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{FORMAT} {}\n", hex(&Sha256::digest(json))).into_bytes();
    bytes.extend(json);
    bytes
}

/// The JSON of a sealed file, where it is whole.
fn content(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, json) = (&bytes[..end], &bytes[end + 1..]);
    (line == format!("{FORMAT} {}", hex(&Sha256::digest(json))).as_bytes()).then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Purpose;

    #[test]
    fn any_damage_shows() {
        let whole = sealed(b"{\"a\": 1}");
        assert_eq!(content(&whole), Some(&b"{\"a\": 1}"[..]));
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            assert_eq!(content(&damaged), None, "byte {place}");
            assert_eq!(content(&whole[..place]), None, "{place} bytes");
        }
    }

    /// The small network, prepared, and its samples.
    fn network() -> (Prepared, Vec<String>, Data) {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let model = cygnet_onnx::model::Model::read(&golden.join("network.onnx")).unwrap();
        let data = Data::open(&golden.join("samples.npz"), &model, None).unwrap();
        let prepared = crate::prepare(model, &data.clone().screened(Purpose::Anything, None)).unwrap();
        let tensors = prepared.facts.keys().filter(|t| !prepared.model.initializers.contains_key(*t)).cloned();
        (prepared.clone(), tensors.collect(), data.screened(Purpose::Calibration, None))
    }

    #[test]
    fn work_that_was_stopped_goes_on() {
        let (prepared, tensors, data) = network();
        let expected = calibrate(&prepared.model, &tensors, &prepared.dims, data.samples(), None, || ()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let steps = std::cell::Cell::new(0);
        let calibrated = |data: &Data| {
            steps.set(0);
            calibrated(&prepared, &tensors, data, Some(folder.path()), None, || steps.set(steps.get() + 1)).unwrap()
        };
        // As after five of sixteen samples, in a state that could only come from the file.
        let mut seen = Seen::none_of(&tensors);
        observe(&prepared.model, &prepared.dims, data.samples().take(5), &mut seen, None, |_| ()).unwrap();
        seen.distributions.values_mut().for_each(|d| assert!(d.add(&[1e6])));
        let cache = Cache::open(folder.path(), &key(&prepared, &tensors, &data).unwrap()).unwrap();
        cache.write(&Entry { is_complete: false, seen, screening: data.screening() });
        let found = calibrated(&network().2);
        assert!(found.values().zip(expected.values()).all(|(f, e)| f.high == 1e6 && f.count() == e.count() + 1));
        assert_eq!(steps.get(), 16);
        // It is complete now, and taken as it is.
        assert!(cache.read().unwrap().is_complete);
        assert_eq!(calibrated(&network().2), found);
        // A damaged file is as good as none.
        let mut bytes = std::fs::read(&cache.path).unwrap();
        bytes[500] ^= 4;
        std::fs::write(&cache.path, bytes).unwrap();
        assert_eq!(calibrated(&network().2), expected);
        assert_eq!(cache.read().unwrap().seen.distributions, expected);
    }

    #[test]
    fn other_data_and_other_rules_have_another_key() {
        let (prepared, tensors, data) = network();
        let own = key(&prepared, &tensors, &data).unwrap();
        assert_eq!(key(&prepared, &tensors, &network().2).unwrap(), own);
        let refusing = data.clone().screened(Purpose::Calibration, Some(crate::data::BadSamples::Refuse));
        assert_ne!(key(&prepared, &tensors, &refusing).unwrap(), own);
        assert_ne!(key(&prepared, &tensors[1..], &data).unwrap(), own);
        let mut other = prepared.clone();
        other.model.initializers.values_mut().next().unwrap().data[0] ^= 1;
        assert_ne!(key(&other, &tensors, &data).unwrap(), own);
    }

    #[test]
    fn distributions_come_back_to_the_bit() {
        let mut seen = Seen::none_of(&["used".into(), "unused".into()]);
        let values: Vec<f32> = (0..1000).map(|i| (i as f32 - 300.0) * 0.1 / 3.0).collect();
        assert!(seen.distributions.get_mut("used").unwrap().add(&values));
        seen.samples = 3;
        let json = serde_json::to_vec(&seen).unwrap();
        assert_eq!(serde_json::from_slice::<Seen>(&json).unwrap(), seen);
    }
}
