//! FLOOR 4, commands: the only place that names concrete choices and wires them together.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::{EnvFilter, fmt};

pub mod blame;
pub mod check;
pub mod coverage;
#[cfg(feature = "sandbox")]
pub mod demo;
pub mod end;
pub mod exit;
pub mod init;
pub mod kinds;
pub mod landings;
pub mod live;
pub mod manual;
pub mod paint;
pub mod plain;
mod progress;
pub mod remote;
#[cfg(feature = "sandbox")]
pub mod replay;
pub mod run;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod seeds;
pub mod systemd;
pub mod verify;

/// Proves that query results land: sends canary queries with Result Output, reads the targets
/// itself, and says what broke, since when, after which deploy.
#[derive(Debug, Parser)]
#[command(name = "landfall", version, max_term_width = 110)]
#[command(after_help = "\
Start here:
  landfall demo                      see the 2015 outage caught, with nothing else installed
  landfall replay 2015-08-24         the same on virtual time
  landfall init                      a first config of your own, by asking
  landfall check -c landfall.toml    what would be watched, and how soon a fault would page
  landfall run -c landfall.toml      watch
  landfall status --watch            how everything stands, while that runs
  landfall verify -c landfall.toml   after a deploy: did it break anything?

Exit codes: 0 yes · 1 the answer is no · 2 usage or config · 3 could not determine")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines on stderr are written; RUST_LOG says which.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// How a command writes its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For scripts; stable.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "sandbox")]
    Demo(demo::Args),
    Init(init::Args),
    Run(run::Args),
    #[cfg(feature = "sandbox")]
    Replay(replay::Args),
    Check(check::Args),
    Verify(verify::Args),
    Blame(blame::Args),
    Seeds(seeds::Args),
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Args),
    Deploy(remote::DeployArgs),
    Incidents(remote::IncidentsArgs),
    Coverage(coverage::Args),
    Impact(remote::impact::ImpactArgs),
    Status(remote::status::StatusArgs),
    Silence(remote::maintenance::SilenceArgs),
    Pause(remote::maintenance::PauseArgs),
    Resume(remote::maintenance::ResumeArgs),
    Drill(remote::drill::DrillArgs),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// Parses the arguments, runs the command, says what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, the rest is usage.
            let code = if error.use_stderr() { exit::USAGE } else { exit::YES };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let quiet = match cli.command {
        #[cfg(feature = "sandbox")]
        Command::Replay(_) | Command::Demo(_) => true,
        _ => false,
    };
    log(cli.log_format, if quiet { "off" } else { "landfall=info,warn" });
    let answer = match cli.command {
        #[cfg(feature = "sandbox")]
        Command::Replay(args) => replay::replay(&args),
        #[cfg(feature = "sandbox")]
        Command::Demo(args) => block_on(demo::demo(args)),
        #[cfg(feature = "sandbox")]
        Command::Sandbox(args) => block_on(sandbox::sandbox(args)),
        Command::Init(args) => init::init(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
        Command::Run(args) => block_on(run::run(args)),
        Command::Check(args) => check::check(&args),
        Command::Verify(args) => block_on(verify::verify(args)),
        Command::Blame(args) => blame::blame(&args),
        Command::Seeds(args) => seeds::seeds(&args),
        Command::Deploy(args) => block_on(remote::deploy(args)),
        Command::Incidents(args) => block_on(remote::incidents(args)),
        Command::Coverage(args) => block_on(coverage::coverage(args)),
        Command::Impact(args) => block_on(remote::impact::impact(args)),
        Command::Status(args) => block_on(remote::status::status(args)),
        Command::Silence(args) => block_on(remote::maintenance::silence(args)),
        Command::Pause(args) => block_on(remote::maintenance::pause(args)),
        Command::Resume(args) => block_on(remote::maintenance::resume(args)),
        Command::Drill(args) => block_on(remote::drill::drill(args)),
    };
    match answer {
        Ok(code) => ExitCode::from(code),
        // Whoever reads stdout has seen enough (`| head`), and wants to hear of no error.
        Err(error) if exit::is_enough(&error) => ExitCode::from(exit::YES),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", plain::plain_lines(&format!("{error:#}")));
            ExitCode::from(exit::code_of(&error))
        }
    }
}

fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(command)
}

fn log(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // A line that cannot be written is no reason to panic, which is what saying so on a closed stderr does.
    let log = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false).log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(paint::Paint::of(&io::stderr()).is_on()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
