//! Float convolution with fused multiply-additions: up to 6 positions × 2 registers with AVX2, up to 12 × 2 or
//! 8 × 3 with AVX-512.

use core::arch::x86_64::*;
use core::ops::Range;

use crate::kernels::float::{self, Strip, Vector, next_tile, tile};
use crate::kernels::portable::attention::attention_by;
use crate::kernels::portable::conv_f32;
use crate::kernels::{AttentionArgs, ConvF32Args};
use crate::plan::step::MatMul;

macro_rules! vector {
    (
        $register:ty, $lanes:literal, $features:literal, $splat:ident, $load:ident, $store:ident, $multiply_add:ident,
        $multiply:ident, $add:ident, $max:ident, $min:ident, $store_first:item, $strip_blocks:item,
        sizes: { $($registers:literal: [$($size:literal),*]),* }
    ) => {
        // The safety of the calls inside is that of the trait: the CPU has the instructions, the elements are there.
        impl Vector for $register {
            const LANES: usize = $lanes;
            const ATTENTION_REGISTERS: usize = 2;

            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                // SAFETY: see above.
                unsafe { $splat(value) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: see above.
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: see above.
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            $store_first
            #[inline(always)]
            unsafe fn multiply_add(self, x: Self, w: Self) -> Self {
                // SAFETY: see above.
                unsafe { $multiply_add(x, w, self) }
            }
            #[inline(always)]
            unsafe fn multiply(self, x: Self) -> Self {
                // SAFETY: see above.
                unsafe { $multiply(self, x) }
            }
            #[inline(always)]
            unsafe fn add_product(self, x: Self, w: Self) -> Self {
                // SAFETY: see above.
                unsafe { $add(self, $multiply(x, w)) }
            }
            #[inline(always)]
            unsafe fn clamp(self, low: Self, high: Self) -> Self {
                // SAFETY: see above. The second operand is taken when one is no number.
                unsafe { $min(high, $max(low, self)) }
            }
            #[inline(always)]
            $strip_blocks
            unsafe fn strip(strip: &Strip<'_>, mut range: Range<usize>) {
                #[target_feature(enable = $features)]
                unsafe fn inner(strip: &Strip<'_>, range: &mut Range<usize>) {
                    match strip.registers::<$register>() {
                        $($registers => {
                            while let Some((size, first)) = next_tile(range, &[$($size),*]) {
                                match size {
                                    // SAFETY: the caller's promise.
                                    $($size => unsafe { tile::<$register, $size, $registers>(strip, first) },)*
                                    _ => {}
                                }
                            }
                        })*
                        _ => {}
                    }
                }
                // SAFETY: see above.
                unsafe { inner(strip, &mut range) }
            }
        }
    };
}

vector!(
    __m256,
    8,
    "avx2,fma",
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps,
    _mm256_mul_ps,
    _mm256_add_ps,
    _mm256_max_ps,
    _mm256_min_ps,
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: see above; the mask lets only `count` elements be written.
        unsafe {
            let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_maskstore_ps(to, _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lane), self);
        }
    },
    fn strip_blocks(blocks: usize, positions: usize) -> usize {
        match blocks {
            4.. if positions < 4 => 4,
            2.. if positions < 4 => 2,
            _ => 1,
        }
    },
    sizes: { 1: [12, 8, 4, 1], 2: [6, 4, 1], 4: [1], 8: [1] }
);

vector!(
    __m512,
    16,
    "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma",
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_mul_ps,
    _mm512_add_ps,
    _mm512_max_ps,
    _mm512_min_ps,
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: see above; the mask lets only `count` elements be written.
        unsafe { _mm512_mask_storeu_ps(to, (1_u32 << count).wrapping_sub(1) as u16, self) };
    },
    fn strip_blocks(blocks: usize, positions: usize) -> usize {
        match blocks {
            4.. if positions < 4 => 4,
            3 => 3,
            _ => blocks.min(2),
        }
    },
    sizes: { 1: [12, 8, 4, 1], 2: [12, 8, 4, 1], 3: [8, 4, 1], 4: [1] }
);

/// The kernels of an instruction set: a module of the same name as that of its other kernels.
macro_rules! kernels {
    ($module:ident, $register:ty, $features:literal, few_channels: $few_channels:path) => {
        pub(super) mod $module {
            use super::*;

            /// [`crate::plan::step::ConvF32`].
            pub fn conv(args: ConvF32Args<'_>) {
                // SAFETY: stands only in kernels that `available` gives out where the CPU has the features.
                unsafe { float::conv::<$register>(args) }
            }

            /// [`crate::plan::step::DepthwiseF32`].
            pub fn depthwise(args: ConvF32Args<'_>) {
                #[target_feature(enable = $features)]
                fn inner(args: ConvF32Args<'_>) {
                    // SAFETY: the CPU has the features that this function is compiled for.
                    unsafe { float::depthwise::<$register>(args) }
                }
                if args.window.out_c != args.window.in_c || (args.window.in_c as usize) < <$register>::LANES {
                    return $few_channels(args);
                }
                // SAFETY: as above.
                unsafe { inner(args) }
            }

            /// [`crate::plan::step::Attention`].
            pub fn attention(args: AttentionArgs<'_>) {
                #[target_feature(enable = $features)]
                fn inner(args: AttentionArgs<'_>) {
                    // SAFETY: the CPU has the features that this function is compiled for.
                    unsafe { attention_by::<float::InVectors<$register>>(args) }
                }
                // SAFETY: as above.
                unsafe { inner(args) }
            }

            /// [`MatMul`] of float32.
            pub fn matmul(s: &MatMul, a: &[f32], b: &[f32], y: &mut [f32]) {
                #[target_feature(enable = $features)]
                fn inner(s: &MatMul, a: &[f32], b: &[f32], y: &mut [f32]) {
                    // SAFETY: the CPU has the features that this function is compiled for.
                    unsafe { float::matmul::<$register>(s, a, b, y) }
                }
                if !float::packs(s) {
                    return crate::kernels::x86::$module::matmul_f32(s, a, b, y);
                }
                // SAFETY: as above.
                unsafe { inner(s, a, b, y) }
            }
        }
    };
}

kernels!(avx2, __m256, "avx2,fma", few_channels: few_channels);
kernels!(avx512, __m512, "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma", few_channels: super::avx2::depthwise);

/// A depthwise convolution with fewer channels than lanes, or with more output than input channels.
fn few_channels(args: ConvF32Args<'_>) {
    #[target_feature(enable = "avx2")]
    fn inner(args: ConvF32Args<'_>) {
        conv_f32::depthwise(args)
    }
    // SAFETY: as above.
    unsafe { inner(args) }
}
