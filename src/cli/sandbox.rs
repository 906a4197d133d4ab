//! `landfall sandbox`: the pretend platform on loopback HTTP, and a config that monitors it.

pub(super) mod config;

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Result, ensure};

use super::{end::End, exit::YES};
use crate::{
    agent::Clock,
    sandbox::{
        World, bucket,
        http::{self, Addresses, Bound, Settings, StartError},
    },
};

/// A pretend Treasure Data on this machine: two accounts, real queries, Result Output that really
/// writes, and faults to inject.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Accounts (API keys): 1/aaaa… (40 × a) runs Hive on hadoop1, 2/bbbb… (40 × b) on hadoop2; Presto and Trino for both.

Faults:
  POST   /sandbox/faults      {\"kind\": \"drop-output\", \"where\": {\"worker\": \"v5\"}}   answers {\"id\": 0}
  GET    /sandbox/faults      those that go on
  DELETE /sandbox/faults/ID   mends one
  GET    /sandbox/jobs        every job, with its domain key

Customers, whose jobs stand in the list of jobs and in no target:
  POST   /sandbox/customers   {\"jobs\": 5000, \"over\": \"24h\"}   the last day's; {\"jobs\": 100, \"every\": \"1s\"} come in now
  POST   /sandbox/faults      {\"kind\": \"drop-output\", \"ago\": \"10h\", \"until\": \"104m\"}   before them: a fault of the past
  GET    /sandbox/customers   what became of their outputs

Try:
  landfall sandbox --write-config try
  landfall run -c try/landfall.toml")]
pub struct Args {
    /// Where the API listens; loopback only. The bucket (S3) takes the next port if it is free.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8440")]
    listen: SocketAddr,
    /// Where the agent will listen, for the config and for `web://` output.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9440")]
    agent_listen: SocketAddr,
    /// Writes DIR/landfall.toml and DIR/probes/: a config that monitors this sandbox.
    #[arg(long, value_name = "DIR")]
    write_config: Option<PathBuf>,
    /// A host that Result Output may go to, besides this machine; may be repeated.
    #[arg(long, value_name = "HOST")]
    allow_output: Vec<String>,
    /// Seed of all dice: the same seed, faults and order of jobs give the same outcomes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// `landfall sandbox`.
pub async fn sandbox(args: Args) -> Result<u8> {
    ensure!(args.agent_listen.port() != 0, "--agent-listen needs a port: the config must name it");
    let ended = End::of_commands();
    let bound = bind(&args).await?;
    // The config is there before anybody gets an answer.
    let written = match &args.write_config {
        Some(folder) => Some(config::write(folder, &bound.addresses, args.agent_listen)?),
        None => None,
    };
    let greeting = greeting(&bound.addresses, written.as_ref());
    let running = bound.open();
    // Whoever closed the pipe does not want to know.
    let _ = std::io::stdout().write_all(greeting.as_bytes());
    ended.came().await;
    running.stop().await;
    Ok(YES)
}

async fn bind(args: &Args) -> Result<Bound> {
    let mut allow_output = args.allow_output.clone();
    if !args.agent_listen.ip().is_unspecified() {
        allow_output.push(args.agent_listen.ip().to_string());
    }
    let next = args.listen.port().checked_add(1).filter(|port| *port > 1).unwrap_or(0);
    let settings = |port: u16| Settings {
        listen: args.listen,
        bucket_listen: SocketAddr::new(args.listen.ip(), port),
        allow_output: allow_output.clone(),
        world: World::brisk(),
        seed: args.seed,
        now: Arc::new(|| Clock::System.now()),
    };
    match http::bind(settings(next)).await {
        // Somebody has that port; any other is as good.
        Err(StartError::Listen { address, .. }) if address.port() == next && next != 0 => {
            Ok(http::bind(settings(0)).await?)
        }
        bound => Ok(bound?),
    }
}

/// The address at which this machine reaches something that listens on all of its own.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()) } else { address }
}

fn greeting(at: &Addresses, written: Option<&config::Written>) -> String {
    let api = at.endpoint();
    let mut text = format!(
        "sandbox   {api}   (Treasure Data API v3)\n\
         bucket    {}   (S3, bucket `{}`)\n\
         accounts  1/{a} runs Hive on hadoop1\n\
         \x20         2/{b} runs Hive on hadoop2; Presto and Trino for both\n",
        at.bucket.endpoint(),
        bucket::NAME,
        a = "a".repeat(40),
        b = "b".repeat(40),
    );
    match written {
        Some(written) => text.push_str(&format!(
            "config    {}\n\nNext, in other terminals:\n  landfall run -c {}\n",
            written.file.display(),
            written.file.display()
        )),
        None => text.push_str("\nNext: `landfall sandbox --write-config DIR` also writes a config that monitors it\n"),
    }
    text.push_str(&format!(
        "  curl {api}/sandbox/faults -H 'content-type: application/json' \\\n    \
         -d '{{\"kind\": \"drop-output\", \"where\": {{\"worker\": \"v5\"}}}}'   # breaks it as in 2015, answers {{\"id\":0}}\n  \
         curl -X DELETE {api}/sandbox/faults/0   # mends it\n  \
         curl {api}/sandbox/jobs\n\
         Ctrl-C ends it.\n"
    ));
    text
}
