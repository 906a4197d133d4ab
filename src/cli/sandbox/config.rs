//! The config that monitors a sandbox: complete, secrets in files of their own, no environment.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::reachable;
use crate::{
    cli::schema,
    sandbox::{
        World, bucket,
        http::{Addresses, accounts},
    },
};

/// First line of every file that may be written over.
const OURS: &str =
    "# Written by `landfall sandbox --write-config`: monitors a sandbox, and is written over by the next.\n";

/// What was written.
pub(in crate::cli) struct Written {
    /// The config.
    pub(in crate::cli) file: PathBuf,
}

/// Writes the config of a sandbox into a folder.
pub(in crate::cli) fn write(folder: &Path, at: &Addresses, agent: SocketAddr) -> Result<Written> {
    let (probes, secrets) = (folder.join("probes"), folder.join("secrets"));
    let file = folder.join("landfall.toml");
    let probe = probes.join("sandbox.toml");
    for path in [&file, &probe] {
        match fs::read_to_string(path) {
            Ok(text) if !text.starts_with(OURS) => {
                bail!("`{}` is not a sandbox's config; choose another folder", path.display())
            }
            _ => {}
        }
    }
    for folder in [folder, &probes, &secrets] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    }
    if let Some(other) = other_probe(&probes)? {
        bail!("`{}` would be monitored too; choose another folder", other.display());
    }
    let [one, two] = accounts();
    for (name, secret) in [
        ("account1.key", one.key.reveal()),
        ("account2.key", two.key.reveal()),
        ("bucket-agent.secret", at.bucket.agent.secret.reveal()),
        ("bucket-platform.secret", at.bucket.platform.secret.reveal()),
    ] {
        keep(&secrets.join(name), secret)?;
    }
    let token = secrets.join("token");
    if !token.exists() {
        // A running agent keeps its token over a restart of the sandbox.
        let mut dice = fastrand::Rng::new();
        keep(&token, &std::iter::repeat_with(|| dice.alphanumeric()).take(40).collect::<String>())?;
    }
    store(&folder.join("landfall.schema.json"), &schema::json())?;
    store(&probe, &probe_text(at, agent))?;
    store(&file, &agent_text(agent))?;
    Ok(Written { file })
}

/// A probe that we did not write.
fn other_probe(probes: &Path) -> Result<Option<PathBuf>> {
    let entries = fs::read_dir(probes).with_context(|| format!("cannot read `{}`", probes.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths
        .filter(|path| path.extension().is_some_and(|is| is == "toml"))
        .find(|path| !path.ends_with("sandbox.toml")))
}

fn store(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Writes a secret that only its owner can read, also if the file was there before.
fn keep(path: &Path, secret: &str) -> Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(secret.as_bytes())
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

fn agent_text(agent: SocketAddr) -> String {
    format!(
        r#"{OURS}#:schema ./landfall.schema.json

[agent]
name          = "sandbox"
listen        = "{agent}"
store         = "landfall.db"
probes        = "probes"
# every 5s + objective 5s + control 5s + objective 5s + page 5s is 25s at worst
detect_within = "1m"
# POST /api/v1/deploys wants it: authorization: Bearer …
token         = {{ file = "secrets/token" }}
"#
    )
}

fn probe_text(at: &Addresses, agent: SocketAddr) -> String {
    let world = World::brisk();
    let endpoint = at.endpoint();
    let mut text = format!("{OURS}#:schema ../landfall.schema.json\n\n");
    for platform in &world.platforms {
        let name = platform.name.as_str();
        let labels: Vec<String> = platform.labels.iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
        let engine = if name == "presto" { "presto" } else { "hive" };
        let account = if name == "hadoop2" { 2 } else { 1 };
        // Which customers' jobs ran there: for `landfall impact`.
        let jobs = match name {
            "presto" => {
                "jobs   = [{ type = \"presto\" }, { type = \"trino\" },\n          \
                 { account = \"hadoop2\", type = \"presto\" }, { account = \"hadoop2\", type = \"trino\" }]\n"
            }
            _ => "",
        };
        text.push_str(&format!(
            r#"[platform.{name}]
labels = {{ {} }}
{jobs}[platform.{name}.treasure-data]
endpoint = "{endpoint}"
api_key  = {{ file = "../secrets/account{account}.key" }}
database = "landfall"
engine   = "{engine}"

"#,
            labels.join(", ")
        ));
    }
    // Where the agent listens on every address, its own is not one that others can use.
    let reached = reachable(agent);
    let intake = if reached == agent { String::new() } else { format!("intake_url = \"http://{reached}\"\n") };
    text.push_str(&format!(
        r#"# The agent's own intake.
[target.web.webhook]
{intake}
[target.bucket.object-store]
endpoint          = "{bucket_endpoint}"
region            = "{region}"
bucket            = "{bucket}"
prefix            = "canary"
access_key_id     = "{agent_id}"
secret_access_key = {{ file = "../secrets/bucket-agent.secret" }}
# The platform writes with keys of its own.
result_access_key_id     = "{platform_id}"
result_secret_access_key = {{ file = "../secrets/bucket-platform.secret" }}

[canary.result-output]
platforms = ["presto", "hadoop1", "hadoop2"]
targets   = ["web", "bucket"]
modes     = ["append"]
every     = "5s"
objective = "5s"
deadline  = "15s"

# The agent's own report, made and brought by the platforms themselves: take the # away.
# [dogfood]
# platforms = ["presto", "hadoop1", "hadoop2"]
# targets   = ["bucket"]
# every     = "10s"
# objective = "5s"
# deadline  = "15s"
# settles   = "0s"
"#,
        bucket_endpoint = at.bucket.endpoint(),
        region = bucket::REGION,
        bucket = bucket::NAME,
        agent_id = at.bucket.agent.id,
        platform_id = at.bucket.platform.id,
    ));
    text
}
