//! The end of an int8 kernel: accumulators to stored results.

use core::arch::x86_64::*;

use crate::kernels::{ConvI8Args, ConvOutput};
use crate::quantization::Target;
use crate::weights::BLOCK;

/// More than any result; what is too great for 32 bits would become the least number when it is rounded, what is too small
/// becomes just that.
const MOST: f32 = 32_767.0;

/// Bias, multipliers and results of up to 16 channels.
#[derive(Clone, Copy)]
pub(super) struct Finish512 {
    /// What the accumulators start with.
    pub bias: __m512i,
    multipliers: __m512,
    limits: Limits512,
    y: *mut i8,
    lanes: usize,
    mask: u16,
    real: bool,
    /// Whether [`rounded_512`] is right for all sums.
    is_small: bool,
}

/// Limits and zero point of int8 results.
#[derive(Clone, Copy)]
pub(super) struct Limits512 {
    low: __m512,
    high: __m512,
    zero_point: __m512i,
    /// The same for packed results.
    shift: __m512i,
    least: __m512i,
    greatest: __m512i,
}

impl Limits512 {
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    pub fn new(target: Target) -> Self {
        let (low, high, zero_point) = target.parts();
        let (least, greatest, shift) = target.limits();
        Self {
            low: _mm512_set1_ps(low),
            high: _mm512_set1_ps(high),
            zero_point: _mm512_set1_epi32(zero_point),
            shift: _mm512_set1_epi16(shift),
            least: _mm512_set1_epi8(least),
            greatest: _mm512_set1_epi8(greatest),
        }
    }

    /// `clamp(round_half_even(value) + zero_point)`, as [`Target::store`] has it.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn quantize(&self, values: __m512) -> __m128i {
        let clamped = _mm512_min_ps(_mm512_max_ps(values, self.low), self.high);
        let rounded = _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(clamped);
        _mm512_cvtepi32_epi8(_mm512_add_epi32(rounded, self.zero_point))
    }

    /// Four registers of rounded numbers to bytes, in each quarter those of the four one after the other.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub fn packed(&self, [a, b, c, d]: [__m512i; 4]) -> __m512i {
        let left = _mm512_adds_epi16(_mm512_packs_epi32(a, b), self.shift);
        let right = _mm512_adds_epi16(_mm512_packs_epi32(c, d), self.shift);
        let bytes = _mm512_packs_epi16(left, right);
        _mm512_min_epi8(_mm512_max_epi8(bytes, self.least), self.greatest)
    }
}

/// `round_half_even(values)` of numbers that fit 32 bits; it is saturated once it is packed.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn rounded_512(values: __m512) -> __m512i {
    _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(values)
}

/// Whether all are below 1: accumulators times these fit 32 bits.
#[target_feature(enable = "avx512f")]
#[inline]
fn are_below_one_512(multipliers: __m512) -> bool {
    _mm512_cmp_ps_mask::<_CMP_LT_OQ>(multipliers, _mm512_set1_ps(1.0)) == u16::MAX
}

/// Bias and multipliers of channels that lie behind each other.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    bias: *const u8,
    multipliers: *const u8,
}

impl Factors {
    /// Those of the `count` channels from `channel` on.
    #[inline]
    pub fn of(args: &ConvI8Args<'_>, channel: usize, count: usize) -> Self {
        let (bias, multipliers) = (args.bias.bytes(channel, count), args.multipliers.bytes(channel, count));
        assert!(bias.len() >= count * 4 && multipliers.len() >= count * 4);
        Self { bias: bias.as_ptr(), multipliers: multipliers.as_ptr() }
    }

    /// Those of the `lanes` channels from the first one's `at`th on.
    ///
    /// # Safety
    /// They are among the channels.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    unsafe fn get(self, at: usize, lanes: usize) -> (__m512i, __m512) {
        let mask = u16::MAX >> (BLOCK - lanes);
        // SAFETY: the mask lets only `lanes` words be read, which are there as the caller promises.
        unsafe {
            let bias = _mm512_maskz_loadu_epi32(mask, self.bias.add(at * 4).cast());
            (bias, _mm512_maskz_loadu_ps(mask, self.multipliers.add(at * 4).cast()))
        }
    }
}

impl Finish512 {
    /// The `lanes` channels from `channel` on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub fn new(args: &mut ConvI8Args<'_>, channel: usize, lanes: usize) -> Self {
        let mask = u16::MAX >> (BLOCK - lanes);
        // SAFETY: `of` has seen that they are there.
        let (bias, multipliers) = unsafe { Factors::of(args, channel, lanes).get(0, lanes) };
        let all = args.y_len();
        let (y, target, real) = match &mut args.y {
            ConvOutput::I8(y, target) => (y[..all].as_mut_ptr(), *target, false),
            ConvOutput::F32(y) => (y[..all].as_mut_ptr().cast(), Target::new(0, 0, 0), true),
        };
        let is_small = are_below_one_512(multipliers);
        Self { bias, multipliers, limits: Limits512::new(target), y, lanes, mask, real, is_small }
    }

    /// The same for the `lanes` channels from the `at`th of the factors on.
    ///
    /// # Safety
    /// They are among those of the factors.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub unsafe fn at(&self, factors: Factors, at: usize) -> Self {
        // SAFETY: the caller's promise.
        let (bias, multipliers) = unsafe { factors.get(at, self.lanes) };
        Self { bias, multipliers, is_small: are_below_one_512(multipliers), ..*self }
    }

    /// Whether all 16 channels are there, the results int8 and the multipliers below 1, as nearly all are: several sums may
    /// be stored at once.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.lanes == BLOCK && !self.real && self.is_small
    }

    /// `round_half_even(sums × multipliers)` where these [are small](Self::is_full).
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn rounded(&self, sums: __m512i) -> __m512i {
        rounded_512(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), self.multipliers))
    }

    /// Four registers of rounded numbers to bytes, the results of each next to each other.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn packed(&self, sums: [__m512i; 4]) -> __m512i {
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm512_permutexvar_epi32(order, self.limits.packed(sums))
    }

    /// As [`Self::store`], the sums of two positions `step` elements apart, of these 16 channels and of the 16 behind.
    ///
    /// # Safety
    /// As for [`Self::store`], for both positions and all 32 channels; both blocks are full.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub unsafe fn store_two(&self, right: &Self, place: usize, step: usize, [first, second]: [[__m512i; 2]; 2]) {
        let bytes = self.packed([
            self.rounded(first[0]),
            right.rounded(first[1]),
            self.rounded(second[0]),
            right.rounded(second[1]),
        ]);
        // SAFETY: 32 elements are there at both places, as the caller promises.
        unsafe {
            let y = self.y.add(place);
            _mm256_storeu_si256(y.cast(), _mm512_castsi512_si256(bytes));
            _mm256_storeu_si256(y.add(step).cast(), _mm512_extracti64x4_epi64::<1>(bytes));
        }
    }

    /// As [`Self::store`], the sums of four positions `step` elements apart.
    ///
    /// # Safety
    /// As for [`Self::store`], for all four positions; the block is full.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub unsafe fn store_four(&self, place: usize, step: usize, [a, b, c, d]: [__m512i; 4]) {
        let bytes = self.packed([self.rounded(a), self.rounded(b), self.rounded(c), self.rounded(d)]);
        // SAFETY: 16 elements are there at all places, as the caller promises.
        unsafe {
            let y = self.y.add(place);
            _mm_storeu_si128(y.cast(), _mm512_castsi512_si128(bytes));
            _mm_storeu_si128(y.add(step).cast(), _mm512_extracti32x4_epi32::<1>(bytes));
            _mm_storeu_si128(y.add(2 * step).cast(), _mm512_extracti32x4_epi32::<2>(bytes));
            _mm_storeu_si128(y.add(3 * step).cast(), _mm512_extracti32x4_epi32::<3>(bytes));
        }
    }

    /// As [`Self::store`], the sums of one position, of four blocks of channels behind each other.
    ///
    /// # Safety
    /// As for [`Self::store`], for all 64 channels; the blocks are full.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub unsafe fn store_line([a, b, c, d]: &[Self; 4], place: usize, sums: [__m512i; 4]) {
        let sums = [a.rounded(sums[0]), b.rounded(sums[1]), c.rounded(sums[2]), d.rounded(sums[3])];
        // SAFETY: 64 elements are there, as the caller promises.
        unsafe { _mm512_storeu_si512(a.y.add(place).cast(), a.packed(sums)) };
    }

    /// Requantizes and stores the sums (bias and all) of one position from element `place` of the output on.
    ///
    /// # Safety
    /// The output of the arguments is still there, and `place` is that of the first channel at a position of it.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub unsafe fn store(&self, place: usize, sums: __m512i) {
        let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), self.multipliers);
        // SAFETY: `lanes` elements from `place` on are there, as the caller promises.
        unsafe {
            if self.real {
                return _mm512_mask_storeu_ps(self.y.cast::<f32>().add(place), self.mask, scaled);
            }
            let y = self.y.add(place);
            let stored = self.limits.quantize(scaled);
            match self.lanes {
                BLOCK => _mm_storeu_si128(y.cast(), stored),
                8 => _mm_storel_epi64(y.cast(), stored),
                _ => _mm_mask_storeu_epi8(y, self.mask, stored),
            }
        }
    }
}

/// Quarters of a register, 16 bytes each.
pub(super) const QUARTERS: usize = 4;

/// Bias, multipliers and results of blocks of 64 channels of a line, 32 of two or 16 of four, the sums being in four
/// registers: of each 16 channels, register `part` has channels `4·part` to `4·part + 3` in a quarter of its own.
pub(super) struct FinishQuarters<const WIDTH: usize> {
    /// What the accumulators start with.
    pub bias: [__m512i; QUARTERS],
    multipliers: [__m512; QUARTERS],
    limits: Limits512,
    y: *mut i8,
    lanes: usize,
    /// Whether [`rounded_512`] is right for all sums.
    is_small: bool,
}

impl<const WIDTH: usize> FinishQuarters<WIDTH> {
    /// The `lanes` channels from `channel` on, of int8 results.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub fn new(args: &mut ConvI8Args<'_>, channel: usize, lanes: usize) -> Self {
        const REGISTER: usize = QUARTERS * BLOCK;
        let (mut bias, mut multipliers) = ([0_i32; REGISTER], [0.0_f32; REGISTER]);
        bias.iter_mut().zip(args.bias.slice(channel, lanes).iter()).for_each(|(to, from)| *to = from);
        multipliers.iter_mut().zip(args.multipliers.slice(channel, lanes).iter()).for_each(|(to, from)| *to = from);
        let mut parts = ([_mm512_setzero_si512(); QUARTERS], [_mm512_setzero_ps(); QUARTERS]);
        for part in 0..QUARTERS {
            let mut quarters = [[_mm_setzero_si128(); QUARTERS]; 2];
            let [of_bias, of_multipliers] = &mut quarters;
            for (index, (bias_quarter, multipliers_quarter)) in of_bias.iter_mut().zip(of_multipliers).enumerate() {
                let first = index * BLOCK % WIDTH + part * 4;
                // SAFETY: four words from here on are inside the arrays: `index` and `part` are below 4.
                unsafe {
                    *bias_quarter = _mm_loadu_si128(bias.as_ptr().add(first).cast());
                    *multipliers_quarter = _mm_loadu_si128(multipliers.as_ptr().add(first).cast());
                }
            }
            parts.0[part] = joined(quarters[0]);
            parts.1[part] = _mm512_castsi512_ps(joined(quarters[1]));
        }
        let (bias, multipliers) = parts;
        let all = args.y_len();
        let (y, target) = match &mut args.y {
            ConvOutput::I8(y, target) => (y[..all].as_mut_ptr(), *target),
            // Not asked for; there is room for it.
            ConvOutput::F32(y) => (y[..all].as_mut_ptr().cast(), Target::new(0, 0, 0)),
        };
        let is_small = multipliers.into_iter().all(|multipliers| are_below_one_512(multipliers));
        Self { bias, multipliers, limits: Limits512::new(target), y, lanes, is_small }
    }

    /// Requantizes and stores the sums of one position on each of the first `lines` lines in a register, from element
    /// `place` of the output on, `step` elements from one line to the next.
    ///
    /// # Safety
    /// The output of the arguments is still there, and `place` is that of the first channel at a position of it, as are
    /// those on the other lines.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub unsafe fn store(&self, place: usize, step: usize, lines: usize, sums: [__m512i; QUARTERS]) {
        let mut results = [_mm512_setzero_si512(); QUARTERS];
        for part in 0..QUARTERS {
            let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[part]), self.multipliers[part]);
            let scaled = if self.is_small { scaled } else { _mm512_min_ps(scaled, _mm512_set1_ps(MOST)) };
            results[part] = rounded_512(scaled);
        }
        let bytes = self.limits.packed(results);
        let y = self.y.wrapping_add(place);
        // SAFETY: `lanes` elements are there on each line, as the caller promises.
        unsafe {
            if WIDTH == 64 {
                return _mm512_storeu_si512(y.cast(), bytes);
            }
            if WIDTH == 32 {
                _mm256_storeu_si256(y.cast(), _mm512_castsi512_si256(bytes));
                if lines > 1 {
                    _mm256_storeu_si256(y.add(step).cast(), _mm512_extracti64x4_epi64::<1>(bytes));
                }
                return;
            }
            let put = |line: usize, quarter: __m128i| {
                let y = y.wrapping_add(line * step);
                match self.lanes {
                    BLOCK => _mm_storeu_si128(y.cast(), quarter),
                    8 => _mm_storel_epi64(y.cast(), quarter),
                    lanes => _mm_mask_storeu_epi8(y, u16::MAX >> (BLOCK - lanes), quarter),
                }
            };
            put(0, _mm512_castsi512_si128(bytes));
            if lines > 1 {
                put(1, _mm512_extracti32x4_epi32::<1>(bytes));
            }
            if lines > 2 {
                put(2, _mm512_extracti32x4_epi32::<2>(bytes));
            }
            if lines > 3 {
                put(3, _mm512_extracti32x4_epi32::<3>(bytes));
            }
        }
    }
}

/// Four quarters as one register.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn joined([a, b, c, d]: [__m128i; QUARTERS]) -> __m512i {
    let two = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
    _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(two, c), d)
}

/// Zero point and limits of packed int8 results, with AVX2.
#[derive(Clone, Copy)]
pub(super) struct Limits256 {
    shift: __m256i,
    least: __m256i,
    greatest: __m256i,
}

impl Limits256 {
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn new(target: Target) -> Self {
        let (least, greatest, shift) = target.limits();
        let (least, greatest) = (_mm256_set1_epi8(least), _mm256_set1_epi8(greatest));
        Self { shift: _mm256_set1_epi16(shift), least, greatest }
    }

    /// Four registers of rounded numbers to bytes, in each half those of the four one after the other.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn packed(&self, [a, b, c, d]: [__m256i; 4]) -> __m256i {
        let left = _mm256_adds_epi16(_mm256_packs_epi32(a, b), self.shift);
        let right = _mm256_adds_epi16(_mm256_packs_epi32(c, d), self.shift);
        let bytes = _mm256_packs_epi16(left, right);
        _mm256_min_epi8(_mm256_max_epi8(bytes, self.least), self.greatest)
    }
}

/// [`rounded_512`] with AVX2.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn rounded_256(values: __m256) -> __m256i {
    _mm256_cvtps_epi32(values)
}

/// Bias, multipliers and results of up to 16 channels, with AVX2.
#[derive(Clone, Copy)]
pub(super) struct Finish256 {
    /// What the accumulators start with.
    pub bias: [__m256i; 2],
    multipliers: [__m256; 2],
    limits: Limits256,
    y: *mut i8,
    lanes: usize,
    real: bool,
    /// Whether the results are int8 and the multipliers below 1, as nearly all are.
    is_plain: bool,
}

impl Finish256 {
    /// The `lanes` channels from `channel` on.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn new(args: &mut ConvI8Args<'_>, channel: usize, lanes: usize) -> Self {
        let mut bias = [0_i32; BLOCK];
        bias.iter_mut().zip(args.bias.slice(channel, lanes).iter()).for_each(|(to, from)| *to = from);
        let mut multipliers = [0.0_f32; BLOCK];
        multipliers.iter_mut().zip(args.multipliers.slice(channel, lanes).iter()).for_each(|(to, from)| *to = from);
        // SAFETY: both arrays have 16 words.
        let (bias, multipliers) = unsafe {
            let (bias, multipliers) = (bias.as_ptr().cast::<__m256i>(), multipliers.as_ptr());
            (
                [_mm256_loadu_si256(bias), _mm256_loadu_si256(bias.add(1))],
                [_mm256_loadu_ps(multipliers), _mm256_loadu_ps(multipliers.add(8))],
            )
        };
        let all = args.y_len();
        let (y, target, real) = match &mut args.y {
            ConvOutput::I8(y, target) => (y[..all].as_mut_ptr(), *target, false),
            ConvOutput::F32(y) => (y[..all].as_mut_ptr().cast(), Target::new(0, 0, 0), true),
        };
        let one = _mm256_set1_ps(1.0);
        let below = multipliers.map(|multipliers| _mm256_cmp_ps::<_CMP_LT_OQ>(multipliers, one));
        let is_plain = !real && _mm256_movemask_ps(_mm256_and_ps(below[0], below[1])) == 0xff;
        Self { bias, multipliers, limits: Limits256::new(target), y, lanes, real, is_plain }
    }

    /// `sums × multipliers` of channels `8·half` to `8·half + 7`.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn scaled(&self, half: usize, sums: __m256i) -> __m256 {
        _mm256_mul_ps(_mm256_cvtepi32_ps(sums), self.multipliers[half])
    }

    /// Requantizes and stores the sums (bias and all) of one position from element `place` of the output on.
    ///
    /// # Safety
    /// The output of the arguments is still there, and `place` is that of the first channel at a position of it.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn store(&self, place: usize, [left, right]: [__m256i; 2]) {
        let scaled = [self.scaled(0, left), self.scaled(1, right)];
        // SAFETY: the caller's promise.
        unsafe {
            if self.is_plain {
                self.store_bytes(place, scaled);
            } else {
                self.store_otherwise(place, scaled);
            }
        }
    }

    /// [`Self::store`] of real results, and of those that may not fit 32 bits.
    ///
    /// # Safety
    /// As there.
    #[target_feature(enable = "avx2")]
    #[cold]
    unsafe fn store_otherwise(&self, place: usize, scaled: [__m256; 2]) {
        if !self.real {
            let most = _mm256_set1_ps(MOST);
            // SAFETY: the caller's promise.
            return unsafe { self.store_bytes(place, scaled.map(|scaled| _mm256_min_ps(scaled, most))) };
        }
        let mut all = [0.0_f32; BLOCK];
        // SAFETY: `all` has 16 words, and `lanes` of the output are there, as the caller promises.
        unsafe {
            _mm256_storeu_ps(all.as_mut_ptr(), scaled[0]);
            _mm256_storeu_ps(all.as_mut_ptr().add(8), scaled[1]);
            all.as_ptr().copy_to_nonoverlapping(self.y.cast::<f32>().add(place), self.lanes);
        }
    }

    /// Rounds and stores the results of one position.
    ///
    /// # Safety
    /// As for [`Self::store`].
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn store_bytes(&self, place: usize, [left, right]: [__m256; 2]) {
        let stored = self.packed(rounded_256(left), rounded_256(right));
        // SAFETY: `lanes` elements are there, as the caller promises.
        unsafe {
            let y = self.y.add(place);
            match self.lanes {
                BLOCK => _mm_storeu_si128(y.cast(), stored),
                8 => _mm_storel_epi64(y.cast(), stored),
                lanes => {
                    let mut all = [0_i8; BLOCK];
                    _mm_storeu_si128(all.as_mut_ptr().cast(), stored);
                    all.as_ptr().copy_to_nonoverlapping(y, lanes);
                }
            }
        }
    }

    /// As [`Self::store`], the sums of two positions `step` elements apart.
    ///
    /// # Safety
    /// As for [`Self::store`], for both positions.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn store_two(&self, place: usize, step: usize, [first, second]: [[__m256i; 2]; 2]) {
        if !self.is_plain || self.lanes < BLOCK {
            // SAFETY: the caller's promise.
            return unsafe {
                self.store(place, first);
                self.store(place + step, second);
            };
        }
        // By fours: 0 to 3 and 8 to 11 of the first, and of the second, then what is left of both.
        let bytes = self.limits.packed([
            rounded_256(self.scaled(0, first[0])),
            rounded_256(self.scaled(1, first[1])),
            rounded_256(self.scaled(0, second[0])),
            rounded_256(self.scaled(1, second[1])),
        ]);
        let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        // SAFETY: 16 elements are there at both places, as the caller promises.
        unsafe {
            let y = self.y.add(place);
            _mm_storeu_si128(y.cast(), _mm256_castsi256_si128(bytes));
            _mm_storeu_si128(y.add(step).cast(), _mm256_extracti128_si256::<1>(bytes));
        }
    }

    /// Rounded numbers to bytes: zero point and limits, as [`Target::store`] has them.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn packed(&self, left: __m256i, right: __m256i) -> __m128i {
        let Limits256 { shift, least, greatest } = self.limits;
        let words = _mm256_adds_epi16(_mm256_packs_epi32(left, right), shift);
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
        let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
        let (least, greatest) = (_mm256_castsi256_si128(least), _mm256_castsi256_si128(greatest));
        _mm_min_epi8(_mm_max_epi8(bytes, least), greatest)
    }
}
