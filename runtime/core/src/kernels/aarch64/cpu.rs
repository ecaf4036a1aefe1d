//! What this CPU offers beyond NEON: `core` has no detection of its own.

/// Whether there are SDOT and UDOT.
#[cfg(all(target_os = "linux", not(target_feature = "dotprod")))]
pub(super) fn has_dotprod() -> bool {
    unsafe extern "C" {
        // The C library that every Linux program has.
        fn getauxval(kind: core::ffi::c_ulong) -> core::ffi::c_ulong;
    }
    /// Linux `AT_HWCAP`, and `HWCAP_ASIMDDP` of `arch/arm64/include/uapi/asm/hwcap.h`.
    const HWCAP: core::ffi::c_ulong = 16;
    const ASIMDDP: u32 = 20;
    // SAFETY: getauxval only reads what the kernel gave the process, for any kind.
    let capabilities = unsafe { getauxval(HWCAP) };
    capabilities >> ASIMDDP & 1 == 1
}

/// Whether there are SDOT and UDOT: elsewhere only when the program is compiled for them.
#[cfg(not(all(target_os = "linux", not(target_feature = "dotprod"))))]
pub(super) fn has_dotprod() -> bool {
    cfg!(target_feature = "dotprod")
}
