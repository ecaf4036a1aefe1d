//! The end of a kernel of int16: sums of 16 channels to stored results.

use core::arch::x86_64::*;

use crate::bytes::I64s;
use crate::kernels::{Bias, ConvI16Args, ConvI16Output};
use crate::quantization::TargetOf;
use crate::weights::BLOCK;

/// Where results go.
#[derive(Clone, Copy)]
enum Results {
    I16(*mut i16),
    I8(*mut i8),
    F32(*mut f32),
}

/// The bias of 16 channels, little-endian.
enum Start<'r> {
    I32(&'r [u8; 4 * BLOCK]),
    I64(&'r [u8; 8 * BLOCK]),
}

/// What both kinds of registers take of up to 16 channels; behind the last one stand zeros.
struct Channels<'r> {
    bias: Start<'r>,
    /// Little-endian.
    multipliers: &'r [u8; 4 * BLOCK],
    /// Limits before the zero point is added, and the zero point.
    limits: (f32, f32, i32),
    results: Results,
}

/// Room for bias and multipliers that are fewer than 16.
struct Room {
    bias: [u8; 8 * BLOCK],
    multipliers: [u8; 4 * BLOCK],
}

impl<'r> Channels<'r> {
    /// The `lanes` channels from `channel` on.
    #[inline]
    fn of<'a: 'r>(args: &mut ConvI16Args<'a>, channel: usize, lanes: usize, room: &'r mut Room) -> Self {
        let bias = match args.bias {
            Bias::I32(bias) => {
                let (room, _) = room.bias.split_first_chunk_mut().expect("a half");
                Start::I32(whole(bias.bytes(channel, lanes), room))
            }
            Bias::I64(bias) => Start::I64(whole(bias.bytes(channel, lanes), &mut room.bias)),
        };
        let multipliers = whole(args.multipliers.bytes(channel, lanes), &mut room.multipliers);
        let len = args.window.positions() * args.window.out_c as usize;
        let (results, limits) = match &mut args.y {
            ConvI16Output::I16(y, target) => (Results::I16(y[..len].as_mut_ptr()), target.parts()),
            ConvI16Output::I8(y, target) => (Results::I8(y[..len].as_mut_ptr()), target.parts()),
            ConvI16Output::F32(y) => (Results::F32(y[..len].as_mut_ptr()), TargetOf::<i16>::whole(0).parts()),
        };
        Self { bias, multipliers, limits, results }
    }
}

/// The bytes in place where they are as many, else in the room, in front of zeros.
#[inline]
fn whole<'r, const LEN: usize>(bytes: &'r [u8], room: &'r mut [u8; LEN]) -> &'r [u8; LEN] {
    match bytes.first_chunk() {
        Some(all) => all,
        None => {
            room.fill(0);
            room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            room
        }
    }
}

/// Bias, multipliers and results of up to 16 channels, with AVX-512.
#[derive(Clone, Copy)]
pub(super) struct Finish512 {
    bias: __m512i,
    wide_bias: [__m512i; 2],
    is_wide: bool,
    multipliers: __m512,
    low: __m512,
    high: __m512,
    zero_point: __m512i,
    results: Results,
    mask: u16,
}

impl Finish512 {
    /// The `lanes` channels from `channel` on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    pub fn new(args: &mut ConvI16Args<'_>, channel: usize, lanes: usize) -> Self {
        let mut room = Room { bias: [0; _], multipliers: [0; _] };
        let of = Channels::of(args, channel, lanes, &mut room);
        let (low, high, zero_point) = of.limits;
        let (mut bias, mut wide_bias) = (_mm512_setzero_si512(), [_mm512_setzero_si512(); 2]);
        // SAFETY: bytes of 16 elements.
        unsafe {
            match of.bias {
                Start::I32(bytes) => bias = bytes.as_ptr().cast::<__m512i>().read_unaligned(),
                Start::I64(bytes) => wide_bias = bytes.as_ptr().cast::<[__m512i; 2]>().read_unaligned(),
            }
            Self {
                bias,
                wide_bias,
                is_wide: matches!(of.bias, Start::I64(_)),
                multipliers: _mm512_loadu_ps(of.multipliers.as_ptr().cast()),
                low: _mm512_set1_ps(low),
                high: _mm512_set1_ps(high),
                zero_point: _mm512_set1_epi32(zero_point),
                results: of.results,
                mask: u16::MAX >> (BLOCK - lanes),
            }
        }
    }

    /// Stores the results of one position from element `place` of the output on; `sums` are without bias.
    ///
    /// # Safety
    /// The output of the arguments is still there, and `place` is that of the first channel at a position of it.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    pub unsafe fn store_sums(&self, place: usize, sums: &[i32; BLOCK]) {
        // SAFETY: 16 words; and the caller's promise.
        unsafe {
            let sums = _mm512_loadu_si512(sums.as_ptr().cast());
            if self.is_wide {
                let left = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(sums));
                return self.finish_totals(place, [left, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(sums))]);
            }
            self.put(place, _mm512_cvtepi32_ps(_mm512_add_epi32(sums, self.bias)));
        }
    }

    /// [`Self::store_sums`] of sums of 64 bits.
    ///
    /// # Safety
    /// As for [`Self::store_sums`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    pub unsafe fn store_totals(&self, place: usize, totals: &[i64; BLOCK]) {
        // SAFETY: 16 elements; and the caller's promise.
        unsafe {
            let totals = totals.as_ptr().cast::<__m512i>();
            self.finish_totals(place, [totals.read_unaligned(), totals.add(1).read_unaligned()]);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    unsafe fn finish_totals(&self, place: usize, [left, right]: [__m512i; 2]) {
        let left = _mm512_cvtepi64_ps(_mm512_add_epi64(left, self.wide_bias[0]));
        let right = _mm512_cvtepi64_ps(_mm512_add_epi64(right, self.wide_bias[1]));
        // SAFETY: the caller's promise.
        unsafe { self.put(place, _mm512_insertf32x8::<1>(_mm512_castps256_ps512(left), right)) };
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    unsafe fn put(&self, place: usize, sums: __m512) {
        let scaled = _mm512_mul_ps(sums, self.multipliers);
        let clamped = _mm512_min_ps(_mm512_max_ps(scaled, self.low), self.high);
        let rounded = _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(clamped);
        let stored = _mm512_add_epi32(rounded, self.zero_point);
        // SAFETY: the mask lets only those channels be written that are there, as the caller promises.
        unsafe {
            match self.results {
                Results::I16(y) if self.mask == u16::MAX => {
                    _mm256_storeu_si256(y.add(place).cast(), _mm512_cvtepi32_epi16(stored));
                }
                Results::I16(y) => _mm256_mask_storeu_epi16(y.add(place), self.mask, _mm512_cvtepi32_epi16(stored)),
                Results::I8(y) if self.mask == u16::MAX => {
                    _mm_storeu_si128(y.add(place).cast(), _mm512_cvtepi32_epi8(stored));
                }
                Results::I8(y) => _mm_mask_storeu_epi8(y.add(place), self.mask, _mm512_cvtepi32_epi8(stored)),
                Results::F32(y) => _mm512_mask_storeu_ps(y.add(place), self.mask, scaled),
            }
        }
    }
}

/// Bias, multipliers and results of up to 16 channels, with AVX2.
#[derive(Clone, Copy)]
pub(super) struct Finish256 {
    bias: [__m256i; 2],
    wide_bias: [__m256i; 4],
    is_wide: bool,
    /// All sums of 64 bits, bias and all, are below 2⁵¹ in magnitude.
    is_exact: bool,
    multipliers: [__m256; 2],
    low: __m256,
    high: __m256,
    zero_point: __m256i,
    results: Results,
    lanes: usize,
}

/// Products of int16 with int8 whose sum is below 2⁵⁰, whatever they are.
const EXACT_PRODUCTS: usize = 1 << 27;

impl Finish256 {
    /// The `lanes` channels from `channel` on.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn new(args: &mut ConvI16Args<'_>, channel: usize, lanes: usize) -> Self {
        let few = args.window.taps() * args.window.group_in() <= EXACT_PRODUCTS;
        let mut room = Room { bias: [0; _], multipliers: [0; _] };
        let of = Channels::of(args, channel, lanes, &mut room);
        let (low, high, zero_point) = of.limits;
        let (mut bias, mut wide_bias) = ([_mm256_setzero_si256(); 2], [_mm256_setzero_si256(); 4]);
        let mut is_exact = few;
        // SAFETY: bytes of 16 elements.
        unsafe {
            match of.bias {
                Start::I32(bytes) => bias = bytes.as_ptr().cast::<[__m256i; 2]>().read_unaligned(),
                Start::I64(bytes) => {
                    is_exact &= I64s::new(bytes).iter().all(|bias| bias.unsigned_abs() < 1 << 50);
                    wide_bias = bytes.as_ptr().cast::<[__m256i; 4]>().read_unaligned();
                }
            }
            Self {
                bias,
                wide_bias,
                is_wide: matches!(of.bias, Start::I64(_)),
                is_exact,
                multipliers: of.multipliers.as_ptr().cast::<[__m256; 2]>().read_unaligned(),
                low: _mm256_set1_ps(low),
                high: _mm256_set1_ps(high),
                zero_point: _mm256_set1_epi32(zero_point),
                results: of.results,
                lanes,
            }
        }
    }

    /// Stores the results of one position from element `place` of the output on; `sums` are without bias.
    ///
    /// # Safety
    /// The output of the arguments is still there, and `place` is that of the first channel at a position of it.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn store_sums(&self, place: usize, sums: &[i32; BLOCK]) {
        // SAFETY: 16 words; and the caller's promise.
        unsafe {
            let sums = sums.as_ptr().cast::<__m256i>();
            self.store(place, [sums.read_unaligned(), sums.add(1).read_unaligned()]);
        }
    }

    /// [`Self::store_sums`] from registers.
    ///
    /// # Safety
    /// As for [`Self::store_sums`].
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn store(&self, place: usize, sums: [__m256i; 2]) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.is_wide {
                let mut totals = [_mm256_setzero_si256(); 4];
                for (half, totals) in sums.into_iter().zip(totals.as_chunks_mut::<2>().0) {
                    totals[0] = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(half));
                    totals[1] = _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(half));
                }
                return self.finish_totals(place, totals);
            }
            let left = _mm256_cvtepi32_ps(_mm256_add_epi32(sums[0], self.bias[0]));
            let right = _mm256_cvtepi32_ps(_mm256_add_epi32(sums[1], self.bias[1]));
            self.put(place, [left, right]);
        }
    }

    /// [`Self::store_sums`] of sums of 64 bits.
    ///
    /// # Safety
    /// As for [`Self::store_sums`].
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn store_totals(&self, place: usize, totals: &[i64; BLOCK]) {
        // SAFETY: 16 elements; and the caller's promise.
        unsafe {
            self.finish_totals(place, totals.as_ptr().cast::<[__m256i; 4]>().read_unaligned());
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn finish_totals(&self, place: usize, mut totals: [__m256i; 4]) {
        for (total, bias) in totals.iter_mut().zip(self.wide_bias) {
            *total = _mm256_add_epi64(*total, bias);
        }
        let sums = if self.is_exact { nearest(totals) } else { nearest_of_any(totals) };
        // SAFETY: the caller's promise.
        unsafe { self.put(place, sums) };
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn put(&self, place: usize, [left, right]: [__m256; 2]) {
        let scaled = [_mm256_mul_ps(left, self.multipliers[0]), _mm256_mul_ps(right, self.multipliers[1])];
        // SAFETY: as many elements are written as there are channels, which are there as the caller promises.
        unsafe {
            let y = match self.results {
                Results::F32(y) => {
                    let mut all = [0.0_f32; BLOCK];
                    _mm256_storeu_ps(all.as_mut_ptr(), scaled[0]);
                    _mm256_storeu_ps(all.as_mut_ptr().add(8), scaled[1]);
                    return all.as_ptr().copy_to_nonoverlapping(y.add(place), self.lanes);
                }
                Results::I16(y) => y,
                Results::I8(y) => {
                    let words = self.words(scaled);
                    let (low, high) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                    let mut all = [0_i8; BLOCK];
                    let bytes = _mm_packs_epi16(low, high);
                    if self.lanes == BLOCK {
                        return _mm_storeu_si128(y.add(place).cast(), bytes);
                    }
                    _mm_storeu_si128(all.as_mut_ptr().cast(), bytes);
                    return all.as_ptr().copy_to_nonoverlapping(y.add(place), self.lanes);
                }
            };
            let words = self.words(scaled);
            if self.lanes == BLOCK {
                return _mm256_storeu_si256(y.add(place).cast(), words);
            }
            let mut all = [0_i16; BLOCK];
            _mm256_storeu_si256(all.as_mut_ptr().cast(), words);
            all.as_ptr().copy_to_nonoverlapping(y.add(place), self.lanes);
        }
    }

    /// `clamp(round_half_even(value)) + zero_point`, as [`TargetOf::store`] has it.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn stored(&self, values: __m256) -> __m256i {
        let clamped = _mm256_min_ps(_mm256_max_ps(values, self.low), self.high);
        _mm256_add_epi32(_mm256_cvtps_epi32(clamped), self.zero_point)
    }

    /// [`Self::stored`] of 16 values as words.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn words(&self, scaled: [__m256; 2]) -> __m256i {
        let [left, right] = [self.stored(scaled[0]), self.stored(scaled[1])];
        _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(left, right))
    }
}

/// Whole numbers below 2⁵¹ in magnitude as the nearest f32, by way of f64, which holds them exactly.
#[target_feature(enable = "avx2")]
#[inline]
fn nearest([a, b, c, d]: [__m256i; 4]) -> [__m256; 2] {
    [_mm256_set_m128(nearest_of_four(b), nearest_of_four(a)), _mm256_set_m128(nearest_of_four(d), nearest_of_four(c))]
}

#[target_feature(enable = "avx2")]
#[inline]
fn nearest_of_four(whole: __m256i) -> __m128 {
    // 2⁵² + 2⁵¹: a whole number added to its bits is added to it.
    let base = _mm256_set1_pd(6_755_399_441_055_744.0);
    let moved = _mm256_add_epi64(whole, _mm256_castpd_si256(base));
    _mm256_cvtpd_ps(_mm256_sub_pd(_mm256_castsi256_pd(moved), base))
}

/// Any whole numbers as the nearest f32.
#[target_feature(enable = "avx2")]
#[cold]
fn nearest_of_any(totals: [__m256i; 4]) -> [__m256; 2] {
    let (mut whole, mut real) = ([0_i64; BLOCK], [0.0_f32; BLOCK]);
    // SAFETY: both arrays have 16 elements.
    unsafe {
        for (part, total) in totals.into_iter().enumerate() {
            _mm256_storeu_si256(whole.as_mut_ptr().add(4 * part).cast(), total);
        }
        real.iter_mut().zip(whole).for_each(|(real, whole)| *real = whole as f32);
        [_mm256_loadu_ps(real.as_ptr()), _mm256_loadu_ps(real.as_ptr().add(8))]
    }
}
