//! How long a page takes from the verdict that decides it to the request that carries it:
//! `cargo bench --bench paging -- --path direct --runs 10 --format json`, or `--path prometheus`.
//!
//! Each run starts a sandbox and a daemon of its own, breaks worker v5, and waits for the page at a
//! receiver of this process. `direct`: by a webhook of the agent. `prometheus`: the agent has no
//! notifier, so the real Prometheus and Alertmanager (Debian's) page with the shipped rules and
//! the shipped intervals; only addresses are replaced. Counted from the moment in which the
//! verdict was taken that made the incident one to be told (`detected_at`) to the last byte of the
//! request's body; both are this machine's clock.

mod programs;
mod receiver;

use std::time::Duration;

use landfall::canary::Timestamp;
use programs::{Programs, Watched};
use receiver::{Heard, Receiver};
use serde_json::{Value as Json, json};

/// A page by Prometheus has a minute by intent; this is when nobody waits any longer.
const WITHIN: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Direct,
    Prometheus,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut way, mut runs, mut is_json) = (Way::Direct, 10, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--path" => {
                way = match args.next().as_deref() {
                    Some("direct") => Way::Direct,
                    Some("prometheus") => Way::Prometheus,
                    _ => panic!("--path direct or --path prometheus"),
                }
            }
            "--runs" => runs = args.next().and_then(|n| n.parse().ok()).expect("--runs N"),
            "--format" => is_json = args.next().as_deref() == Some("json"),
            // What cargo adds.
            _ => {}
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
    let mut took: Vec<f64> = Vec::new();
    for run in 1..=runs {
        let ms = runtime.block_on(page(way));
        eprintln!("run {run}: {ms:.1} ms");
        took.push(ms);
    }
    took.sort_by(f64::total_cmp);
    let path = if way == Way::Direct { "direct" } else { "prometheus" };
    let (least, median, most) = (took[0], took[took.len() / 2], took[took.len() - 1]);
    if is_json {
        println!("{}", json!({"path": path, "runs": runs, "ms": {"least": least, "median": median, "most": most}}));
    } else {
        println!(
            "{path}: {runs} pages, from the verdict to the request: least {least:.1} ms, median {median:.1} ms, most {most:.1} ms"
        );
    }
}

/// One page, from nothing. Milliseconds.
async fn page(way: Way) -> f64 {
    let receiver = Receiver::open().await;
    let notifiers = match way {
        Way::Direct => format!("\n[notify.bench.webhook]\nurl = \"{}/page\"\n", receiver.url),
        Way::Prometheus => String::new(),
    };
    let watched = Watched::start(&notifiers).await;
    let _programs = match way {
        Way::Direct => None,
        Way::Prometheus => Some(Programs::start(&watched, &receiver.url).await),
    };
    watched.landed().await;
    watched.break_v5().await;
    let heard = receiver.first(WITHIN, |heard| is_page(way, heard)).await.expect("a page within three minutes");
    let told = watched.detected_at().await;
    heard.at.since(told).as_secs_f64() * 1e3
}

/// Whether a request is the page: other alerts may be about.
fn is_page(way: Way, heard: &Heard) -> bool {
    match way {
        Way::Direct => heard.body["event"] == "triggered",
        Way::Prometheus => heard.body["alerts"].as_array().into_iter().flatten().any(|alert| {
            alert["status"] == "firing" && alert["labels"]["incident"].as_str().is_some_and(|id| !id.is_empty())
        }),
    }
}

/// RFC 3339 in a JSON text.
fn time(of: &Json) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(of.as_str()?)
}
