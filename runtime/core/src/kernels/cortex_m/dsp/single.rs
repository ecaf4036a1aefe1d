//! One row times one block of output channels, four channels at a time.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::tile::{Job, each};

/// Four channels' weights times four bytes of one row: 16 multiply-accumulates in 18 instructions and those that load
/// the row.
macro_rules! one {
    ($load:literal) => {
        concat!(
            $load,
            "ldm.w lr, {{r6-r9}}\n",
            "add.w lr, lr, r11\n",
            "sxtb16 r10, r6\n",
            "sxtb16 r6, r6, ror #8\n",
            "smlad r0, r4, r10, r0\n",
            "sxtb16 r10, r7\n",
            "sxtb16 r7, r7, ror #8\n",
            "smlad r1, r4, r10, r1\n",
            "sxtb16 r10, r8\n",
            "sxtb16 r8, r8, ror #8\n",
            "smlad r2, r4, r10, r2\n",
            "sxtb16 r10, r9\n",
            "sxtb16 r9, r9, ror #8\n",
            "smlad r3, r4, r10, r3\n",
            "smlad r0, r5, r6, r0\n",
            "smlad r1, r5, r7, r1\n",
            "smlad r2, r5, r8, r2\n",
            "smlad r3, r5, r9, r3\n",
        )
    };
}

/// Defines a function that multiplies one row with the channels of a block, four at a time.
macro_rules! one_row {
    ($(#[$doc:meta])* $name:ident $load:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// See [`Tile::multiply`].
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(job: *const Job) {
            naked_asm!(
                ".cpu cortex-m33",
                "push {{r4-r11, lr}}",
                "vpush {{d8, d9}}",
                "vldmia r0, {{s6-s15}}",
                "ldr.w r11, [r0, {QUAD_STEP}]",
                "adr.w r2, 13f",
                "vmov r3, s8",
                "add r2, r2, r3",
                "orr r2, r2, #1",
                "vmov s8, r2",
                "3:",
                "vmov r6, lr, s9, s10",
                "ldm r6!, {{r0-r3}}",
                "add.w r7, lr, #16",
                "vmov s9, s10, r6, r7",
                "vmov r12, r6, s7, s8",
                "bx r6",
                ".p2align 2",
                "13:",
                one!($load), one!($load), one!($load), one!($load),
                "vmov r6, s6",
                "cmp r12, r6",
                "bne 13b",
                "vmov s0, s1, r0, r1",
                "vmov s2, s3, r2, r3",
                "vmov r6, r7, s11, s12",
                "vmov r4, s14",
                each!("vcvt.f32.s32 s" "0, s0" "1, s1" "2, s2" "3, s3" : ""),
                "vldmia r6!, {{s16-s19}}",
                "vmov s11, r6",
                each!("vmul.f32 s" "0, s0, s16" "1, s1, s17" "2, s2, s18" "3, s3, s19" : ""),
                "cbz r4, 5f",
                each!("vcvtr.s32.f32 s" "0, s0" "1, s1" "2, s2" "3, s3" : ""),
                "vmov r0, r1, s0, s1",
                "vmov r2, r3, s2, s3",
                each!("qadd r" "0, r0" "1, r1" "2, r2" "3, r3" : ", r7"),
                each!("ssat r" "0, #8, r0" "1, #8, r1" "2, #8, r2" "3, #8, r3" : ""),
                "vmov r6, s13",
                "strb r0, [r6]",
                "strb r1, [r6, #1]",
                "strb r2, [r6, #2]",
                "strb r3, [r6, #3]",
                "adds r6, #4",
                "4:",
                "vmov s13, r6",
                "vmov r7, s15",
                "cmp r6, r7",
                "bne 3b",
                "vpop {{d8, d9}}",
                "pop {{r4-r11, pc}}",
                // Real numbers.
                "5:",
                "vmov r6, s13",
                "vstmia r6!, {{s0-s3}}",
                "b 4b",
                QUAD_STEP = const offset_of!(Job, quad_step),
            )
        }
    };
}

one_row!(
    /// One expanded row.
    one_row "ldrd r4, r5, [r12], #8\n"
);
one_row!(
    /// One row as it lies in the input.
    one_row_in_place "ldr.w r4, [r12], #4\nsxtb16 r5, r4, ror #8\nsxtb16 r4, r4\n"
);
