//! `landfall replay`: plays scenarios on virtual time.

pub mod play;

/// Plays scenarios.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// `landfall replay`.
pub fn replay(_: &Args) -> anyhow::Result<u8> {
    use crate::sandbox::*;
    let start = crate::canary::Timestamp::parse_rfc3339("2015-08-24T14:00:00-07:00").unwrap();
    let min = |m: u64| start.plus(std::time::Duration::from_secs(m * 60));
    let fault = Fault {
        kind: FaultKind::DropOutput,
        selector: "worker=v5".parse().unwrap(),
        rate: 1.0,
        from: min(44),
        until: Some(min(148)),
    };
    let p = play::Play {
        world: World::default(),
        faults: vec![fault],
        deploys: vec![crate::detect::Deploy { service: "worker".into(), version: "v6".into(), at: min(43) }],
        start,
        lasts: std::time::Duration::from_secs(4 * 3600),
    };
    for seed in 0..5 {
        let t = tokio::time::Instant::now();
        let played = play::play(&p, seed)?;
        println!("{:?} runs {}", t.elapsed(), played.runs);
        for n in &played.notices {
            println!(
                "  {} {:?} {} {} {:?}",
                n.at,
                n.change,
                n.incident.outcome,
                n.incident.suspects_text(),
                n.incident.deploy.as_ref().map(|d| &d.service)
            );
        }
        for i in &played.incidents {
            println!("  {} {} {:?} {:?}", i.suspects_text(), i.outcome, i.onset, i.resolved_at);
            for s in &i.history {
                println!("     {} {}", s.at, s.text);
            }
        }
    }
    Ok(0)
}
