//! Arguments to commands to exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    landfall::cli::main()
}
