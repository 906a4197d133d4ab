//! The binary: arguments to commands to exit code.
fn main() {}
