//! The scripts that drive the browser, run by Node: one JSON argument, one JSON answer.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value as Json;

/// Runs `tests/browser/NAME.mjs`. It bounds itself, and ends its browser.
pub(super) async fn script(name: &str, argument: Json) -> Json {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/browser/{name}.mjs"));
    let folder = std::env::var("LANDFALL_TEST_BROWSER")
        .expect("LANDFALL_TEST_BROWSER names what tests/browser/install prints (tests/run sets it)");
    let run = move || {
        let mut node = Command::new("node");
        node.arg(file).arg(argument.to_string()).env("LANDFALL_TEST_BROWSER", folder).stdin(Stdio::null());
        node.output()
    };
    let output: Output = tokio::task::spawn_blocking(run).await.expect("it ends").expect("node runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}.mjs: {}\n{said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name}.mjs: {error}\n{said}"))
}
