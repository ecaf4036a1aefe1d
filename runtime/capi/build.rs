//! Names the shared library by the version of its interface, so that no program meets another one; finds the plan that
//! the library is restricted to.

fn main() {
    println!("cargo:rerun-if-changed=src/lib.rs");
    let source = std::fs::read_to_string("src/lib.rs").unwrap_or_default();
    let version = source.split("CYGNET_ABI_VERSION: u32 = ").nth(1).and_then(|rest| rest.split(';').next());
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let linux = system == "linux";
    if let (Some(version), true) = (version, linux) {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcygnet.so.{version}");
    }
    println!("cargo:rerun-if-env-changed=CYGNET_PLAN");
    println!("cargo:rustc-check-cfg=cfg(cygnet_plan)");
    // Elsewhere the kernels are chosen by the CPU that is met.
    if let (Ok(plan), "none") = (std::env::var("CYGNET_PLAN"), &*system) {
        println!("cargo:rustc-cfg=cygnet_plan");
        println!("cargo:rerun-if-changed={plan}");
    }
}
