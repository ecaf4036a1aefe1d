//! What this CPU and its operating system offer, by CPUID: `core` has no detection of its own.

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

/// Instruction sets that kernels exist for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    /// AVX2 and FMA.
    pub avx2: bool,
    /// AVX-VNNI.
    pub avx_vnni: bool,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    pub avx512_vnni: bool,
}

impl Features {
    /// Asks the CPU (Intel SDM, volume 2, CPUID; AMD APM, volume 3).
    pub fn detect() -> Self {
        let none = Self { avx2: false, avx_vnni: false, avx512_vnni: false };
        if __cpuid(0).eax < 7 {
            return none;
        }
        let has = |word: u32, bits: &[u32]| bits.iter().all(|bit| word >> bit & 1 == 1);
        let leaf1 = __cpuid(1).ecx;
        // FMA; OSXSAVE and AVX: only then may XGETBV be asked which registers the system saves.
        if !has(leaf1, &[12, 27, 28]) {
            return none;
        }
        let saved = saved_registers();
        let leaf7 = __cpuid_count(7, 0);
        let avx2 = has(leaf7.ebx, &[5]) && saved & 0b110 == 0b110;
        // F, DQ, BW, VL; VNNI; opmask and both halves of the ZMM registers.
        let avx512_vnni =
            avx2 && has(leaf7.ebx, &[16, 17, 30, 31]) && has(leaf7.ecx, &[11]) && saved & 0b1110_0110 == 0b1110_0110;
        // Leaf 7 has sub-leaves; AVX-VNNI stands in the first of them.
        let avx_vnni = avx2 && leaf7.eax >= 1 && has(__cpuid_count(7, 1).eax, &[4]);
        Self { avx2, avx_vnni, avx512_vnni }
    }
}

/// XCR0: the registers that the operating system saves.
fn saved_registers() -> u64 {
    #[target_feature(enable = "xsave")]
    fn read() -> u64 {
        // SAFETY: XCR0 exists wherever XSAVE does.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: the caller has seen OSXSAVE.
    unsafe { read() }
}
