//! How long a release pipeline waits, and what that costs: `cargo bench --bench verify`.
//!
//! `landfall verify`, as it is shipped and in a process of its own, over 200 routes whose jobs take 2 s each, with
//! the caps raised so that all fly at once. The sandbox runs here, so that its work is not counted.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use landfall::{
    agent::Clock,
    sandbox::{
        Spread, World, bucket,
        http::{Running, Settings, accounts, serve},
    },
};
use tokio::time::Instant;

const JOB: Duration = Duration::from_secs(2);
const CANARIES: usize = 100;
const TIMES: usize = 3;

/// Seconds that processes which have ended and were waited for have spent on processors.
fn cpu_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Fields 16 and 17, counted from the name's 2; a hundred ticks a second.
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).expect("a number");
    (ticks(13) + ticks(14)) / 100.0
}

fn write_config(folder: &std::path::Path, sandbox: &Running) {
    let [account, _] = accounts();
    let place = &sandbox.bucket;
    for (name, secret) in [
        ("td.key", account.key.reveal()),
        ("agent.secret", place.agent.secret.reveal()),
        ("platform.secret", place.platform.secret.reveal()),
    ] {
        std::fs::write(folder.join(name), secret).expect("written");
    }
    let mut config = format!(
        "[agent]\nname = \"bench\"\nlisten = \"127.0.0.1:0\"\nstore = \"bench.db\"\n\
         [platform.presto]\nin_flight = {routes}\nper_hour = 100000\nlabels = {{ worker = \"v5\" }}\n\
         [platform.presto.treasure-data]\nendpoint = \"{endpoint}\"\napi_key = {{ file = \"td.key\" }}\n\
         database = \"landfall\"\nengine = \"presto\"\n[target.web.webhook]\n\
         [target.bucket.object-store]\nendpoint = \"{bucket_endpoint}\"\nregion = \"{region}\"\nbucket = \"{bucket}\"\n\
         prefix = \"canary\"\naccess_key_id = \"{agent}\"\nsecret_access_key = {{ file = \"agent.secret\" }}\n\
         result_access_key_id = \"{platform}\"\nresult_secret_access_key = {{ file = \"platform.secret\" }}\n",
        routes = 2 * CANARIES,
        endpoint = sandbox.endpoint(),
        bucket_endpoint = place.endpoint(),
        region = bucket::REGION,
        bucket = bucket::NAME,
        agent = place.agent.id,
        platform = place.platform.id,
    );
    for n in 0..CANARIES {
        config.push_str(&format!(
            "[canary.c{n}]\nplatforms = [\"presto\"]\ntargets = [\"web\", \"bucket\"]\nevery = \"1h\"\n"
        ));
    }
    std::fs::write(folder.join("landfall.toml"), config).expect("written");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let mut world = World::brisk();
    for platform in &mut world.platforms {
        platform.job_time = Spread::Always(JOB);
    }
    let any = "127.0.0.1:0".parse().expect("an address");
    let settings = Settings {
        listen: any,
        bucket_listen: any,
        allow_output: Vec::new(),
        world,
        seed: 1,
        now: Arc::new(|| Clock::System.now()),
    };
    let sandbox = runtime.block_on(serve(settings)).expect("a sandbox");
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), &sandbox);
    println!("landfall verify over {} routes, jobs of {} s", 2 * CANARIES, JOB.as_secs());
    println!("{:>6} {:>10} {:>10} {:>6}", "time", "wall s", "own cpu s", "exit");
    for time in 1..=TIMES {
        let (began, before) = (Instant::now(), cpu_of_children());
        let output = Command::new(env!("CARGO_BIN_EXE_landfall"))
            .args(["verify", "--format", "json", "-c"])
            .arg(folder.path().join("landfall.toml"))
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_of_children() - before);
        let code = output.status.code();
        println!("{time:>6} {wall:>10.2} {cpu:>10.2} {:>6}", code.map_or("none".to_owned(), |code| code.to_string()));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let routes = answer["routes"].as_array().map_or(&[][..], Vec::as_slice);
        let mut slow: Vec<&serde_json::Value> = routes.iter().collect();
        slow.sort_by(|a, b| b["seconds"].as_f64().unwrap_or(0.0).total_cmp(&a["seconds"].as_f64().unwrap_or(0.0)));
        for route in slow.iter().filter(|route| route["state"] != "ok").chain(slow.first()).take(3) {
            println!("       {route}");
        }
        if code != Some(0) {
            println!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    runtime.block_on(sandbox.stop());
}
