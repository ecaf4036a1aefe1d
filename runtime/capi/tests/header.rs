//! `include/cygnet.h` is what cbindgen makes of the sources.

use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new().with_config(config).with_src(folder.join("src/lib.rs")).generate().unwrap();
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = folder.join("include/cygnet.h");
    if std::env::var_os("CYGNET_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = stands.lines().zip(made.lines()).position(|(stands, made)| stands != made);
    assert!(
        stands == made,
        "cygnet.h is not what cbindgen makes (first difference: line {}): \
         CYGNET_WRITE_HEADER=1 cargo test -p cygnet-capi --test header",
        differs.unwrap_or(stands.lines().count().min(made.lines().count())) + 1
    );
}
