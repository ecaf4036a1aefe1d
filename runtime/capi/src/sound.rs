//! Sound to inputs, as the plan says.

use cygnet_core::Plan;
use cygnet_core::plan::MetadataKind;
use cygnet_sense::{AudioSpec, Features, MelNorm, MelScale, Resampler};

use crate::CYGNET_MAX_BANDS;
use crate::boundary::{Outcome, answer, apart, elements, elements_mut, put, span};
use crate::place::place;
use crate::plan::{CygnetPlan, PlanMemory, input};
use crate::session::{CygnetSession, Running};
use crate::status::CygnetStatus;

/// What sound becomes.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum CygnetFeatures {
    /// The samples, divided by 32768.
    Waveform = 0,
    /// ln(max(power, floor)) of mel bands.
    LogMel = 1,
    /// The first coefficients of the orthonormal DCT-II of a log-mel row.
    Mfcc = 2,
}

/// How mel relates to Hz.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum CygnetMelScale {
    /// 2595 log10(1 + f / 700).
    Htk = 0,
    /// Linear below 1 kHz, logarithmic above.
    Slaney = 1,
}

/// How mel filters are weighted.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum CygnetMelNorm {
    /// Height 1.
    None = 0,
    /// Area 1, over Hz.
    Slaney = 1,
}

/// How sound becomes an input: rows of features, feature = (value - mean) * scale. A row covers `window` samples, the
/// next one begins `hop` later; samples are divided by 32768 and weighted by a periodic Hann window.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CygnetSoundFacts {
    /// Samples a second.
    pub sample_rate: u32,
    /// Samples that make one input.
    pub clip_samples: u32,
    /// What is computed.
    pub features: CygnetFeatures,
    /// Rows of the tensor.
    pub rows: u32,
    /// Values of a row.
    pub row_length: u32,
    /// Samples of a frame.
    pub window: u32,
    /// Samples from one frame to the next.
    pub hop: u32,
    /// Length of the Fourier transform.
    pub fft: u32,
    /// Mel bands.
    pub mels: u32,
    /// Where the first band begins, Hz.
    pub mel_low_hz: f32,
    /// Where the last band ends, Hz.
    pub mel_high_hz: f32,
    /// How mel relates to Hz.
    pub mel_scale: CygnetMelScale,
    /// How mel filters are weighted.
    pub mel_norm: CygnetMelNorm,
    /// The smallest power that the logarithm sees.
    pub floor: f32,
    /// Taken from each value of a row.
    pub mean: [f32; CYGNET_MAX_BANDS],
    /// Multiplied then.
    pub scale: [f32; CYGNET_MAX_BANDS],
}

fn audio_spec(plan: &Plan<'_>, index: u32) -> Outcome<AudioSpec> {
    let record = plan.metadata_of(MetadataKind::Audio, index).ok_or(CygnetStatus::NotPrepared)?;
    Ok(AudioSpec::from_bytes(record)?)
}

/// Tells how sound becomes input `index`; CYGNET_STATUS_NOT_PREPARED when the plan does not say.
///
/// Owner: `facts` is yours. Threads: any number at a time.
/// Pointers: `plan` is null or points to a CygnetPlan, `facts` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_sound(
    plan: *const CygnetPlan,
    index: u32,
    facts: *mut CygnetSoundFacts,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let plan = unsafe { PlanMemory::at(plan)? }.plan()?;
        input(plan, index)?;
        let spec = audio_spec(plan, index)?;
        let each = |values: &[f32]| {
            let one = values.first().copied().unwrap_or_default();
            core::array::from_fn(|band| if values.len() == 1 { one } else { values.get(band).copied().unwrap_or(one) })
        };
        let found = CygnetSoundFacts {
            sample_rate: spec.sample_rate,
            clip_samples: spec.clip_samples,
            features: match spec.features {
                Features::Waveform => CygnetFeatures::Waveform,
                Features::LogMel => CygnetFeatures::LogMel,
                Features::Mfcc => CygnetFeatures::Mfcc,
            },
            rows: spec.frames() as u32,
            row_length: spec.row_len() as u32,
            window: spec.window,
            hop: spec.hop,
            fft: spec.fft,
            mels: spec.mels,
            mel_low_hz: spec.mel_low_hz,
            mel_high_hz: spec.mel_high_hz,
            mel_scale: match spec.mel_scale {
                MelScale::Htk => CygnetMelScale::Htk,
                MelScale::Slaney => CygnetMelScale::Slaney,
            },
            mel_norm: match spec.mel_norm {
                MelNorm::None => CygnetMelNorm::None,
                MelNorm::Slaney => CygnetMelNorm::Slaney,
            },
            floor: spec.floor,
            mean: each(&spec.mean),
            scale: each(&spec.scale),
        };
        // SAFETY: the caller's duty, as said above.
        unsafe { put(facts, found) }
    })
}

/// Numbers of scratch: for the samples at the model's rate where that is another, then for the features, which need the
/// room of the resampler again.
fn sound_scratch(spec: &AudioSpec, count: usize, sample_rate: u32) -> Outcome<(usize, usize)> {
    let features = spec.scratch_len();
    if sample_rate == spec.sample_rate {
        return Ok((0, features));
    }
    let room = Resampler::scratch_len(sample_rate, spec.sample_rate)?;
    Ok((resampled_len(spec, count, sample_rate)?.div_ceil(2), room.max(features)))
}

/// Samples at the model's rate, as [`Resampler::finish`] counts them.
fn resampled_len(spec: &AudioSpec, count: usize, sample_rate: u32) -> Outcome<usize> {
    let exact = (count as u128 * u128::from(spec.sample_rate)).div_ceil(u128::from(sample_rate.max(1)));
    usize::try_from(exact).map_err(|_| CygnetStatus::ElementCount)
}

/// Tells how many numbers of scratch cygnet_session_write_sound() needs for `count` samples at a rate.
///
/// Owner: `numbers` is yours. Threads: any number at a time.
/// Pointers: `plan` is null or points to a CygnetPlan, `numbers` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_sound_scratch(
    plan: *const CygnetPlan,
    index: u32,
    count: usize,
    sample_rate: u32,
    numbers: *mut usize,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let plan = unsafe { PlanMemory::at(plan)? }.plan()?;
        input(plan, index)?;
        let (samples, rest) = sound_scratch(&audio_spec(plan, index)?, count, sample_rate)?;
        let needed = samples.checked_add(rest).ok_or(CygnetStatus::ElementCount)?;
        // SAFETY: the caller's duty, as said above.
        unsafe { put(numbers, needed) }
    })
}

/// Sets input `index` from mono sound at `sample_rate` samples a second: brought to the model's rate, turned into
/// features and quantized into the arena, as cygnet_plan_sound() tells. What is shorter than a clip is followed by
/// silence, of what is longer the loudest clip is taken.
///
/// Owner: `samples`, and `scratch` (as many numbers as cygnet_sound_scratch() tells), are yours and not kept.
/// Threads: one at a time for this session.
/// Pointers: `session` is null or points to a CygnetSession; `samples` is null or points to `count` samples; `scratch`
/// is null or points to `scratch_count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_write_sound(
    session: *mut CygnetSession,
    index: u32,
    samples: *const i16,
    count: usize,
    sample_rate: u32,
    scratch: *mut f32,
    scratch_count: usize,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let mut running = unsafe { Running::of(session)? };
        let arena = running.arena();
        let spans = [span(samples, count), span(scratch, scratch_count)];
        apart(&arena, &spans[0])?;
        apart(&arena, &spans[1])?;
        apart(&spans[0], &spans[1])?;
        // SAFETY: the caller's duty, as said above.
        let (samples, scratch) = unsafe { (elements(samples, count)?, elements_mut(scratch, scratch_count)?) };
        let (port, tensor) = input(running.plan(), index)?;
        let spec = audio_spec(running.plan(), index)?;
        if !port.in_order() {
            return Err(CygnetStatus::NotPrepared);
        }
        let (room, _) = sound_scratch(&spec, count, sample_rate)?;
        let (room, scratch) = scratch.split_at_mut_checked(room).ok_or(CygnetStatus::ScratchTooSmall)?;
        let samples = if sample_rate == spec.sample_rate {
            samples
        } else {
            // SAFETY: any bits are an i16, and half of a number is aligned for one.
            let (_, room, _) = unsafe { room.align_to_mut::<i16>() };
            let mut resampler = Resampler::new(sample_rate, spec.sample_rate, scratch)?;
            let mut filled = 0;
            let mut emit = |sample| {
                if let Some(to) = room.get_mut(filled) {
                    *to = sample;
                    filled += 1;
                }
            };
            resampler.push(samples, &mut emit);
            resampler.finish(&mut emit);
            room.get(..filled).unwrap_or_default()
        };
        let mut engine = running.engine()?;
        Ok(spec.prepare(samples, &mut place(&mut engine, index, &port, &tensor)?, scratch)?)
    })
}
