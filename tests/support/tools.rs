//! Test programs of others that Cargo installs. Must not know what they test.

use std::path::{Path, PathBuf};

/// Names another folder that has them.
const OVERRIDE: &str = "MAVFTP_TOOLS";

/// Where a tool is. A test without its tool fails; it never passes.
pub fn tool(name: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder =
        std::env::var_os(OVERRIDE).map_or_else(|| package.join(".tools/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "no {name} in {} (or in {OVERRIDE}); run scripts/test, which installs it",
        folder.display()
    );
    path
}
