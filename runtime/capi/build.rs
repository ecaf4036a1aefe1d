//! Names the shared library by the version of its interface, so that programs never meet another one.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if linux {
        // `install` makes the file of this name; CYGNET_ABI_VERSION in src/lib.rs is the number.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcygnet.so.1");
    }
}
