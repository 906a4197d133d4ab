//! Bases: for every kind a config that is right, in which every table stands that a config may have.

/// What every base has; a kind's own table comes instead of the one here.
pub(super) const COMMON: &str = r#"
[agent]
name = "mon-1"
[agent.drill]
cron = "0 9 * * Mon"
[agent.heartbeat]
url = "https://life.example.com/landfall"
[web]
public = true
[platform.x]
labels = { worker = "v5" }
[platform.x.treasure-data]
endpoint = "https://api.treasuredata.com"
api_key = { env = "KEY" }
database = "landfall"
engine = "hive"
[target.x.webhook]
[canary.x]
platforms = ["x"]
targets = ["x"]
every = "1m"
sample = { rows = 20 }
[dogfood]
platforms = ["x"]
targets = ["x"]
[notify.x.webhook]
url = "https://hooks.example.com/landfall"
[[silence]]
where = {}
from = "2026-11-23T22:00:00+09:00"
until = "2026-11-24T22:00:00+09:00"
because = "it is moved"
"#;

/// The same where a canary and a silence have cron expressions.
pub(super) const CRON: &str = r#"
[canary.x]
platforms = ["x"]
targets = ["x"]
cron = "*/5 * * * *"
[dogfood]
platforms = ["x"]
targets = ["x"]
cron = "*/5 * * * *"
[[silence]]
where = {}
cron = "0 9 * * Mon"
lasts = "2h"
because = "it is moved"
[notify.x]
second = "y"
webhook = { url = "https://hooks.example.com/landfall" }
[notify.y.webhook]
url = "https://hooks.example.com/landfall"
"#;

/// Kinds' own tables: family, kind, text. Where keys exclude each other, a kind has several.
pub(super) const KINDS: [(&str, &str, &str); 24] = [
    (
        "platform",
        "treasure-data",
        r#"
endpoint = "https://api.treasuredata.com"
api_key = { env = "KEY" }
database = "landfall"
engine = "hive"
"#,
    ),
    (
        "platform",
        "hiveserver2",
        r#"
endpoint = "tcp://hive.example.com"
dialect = "spark"
outputs = { x = { table = "landfall.x" } }
"#,
    ),
    (
        "platform",
        "hiveserver2",
        r#"
endpoint = "tcp://hive.example.com"
dialect = "spark"
outputs = { x = { directory = "s3a://example/{place}" } }
"#,
    ),
    (
        "platform",
        "hiveserver2",
        r#"
endpoint = "tcp://hive.example.com"
dialect = "hive"
outputs = { x = { directory = "s3a://example/{place}" } }
"#,
    ),
    (
        "platform",
        "http-job",
        r#"
endpoint = "https://jobs.example.com/api"
dialect = "trino"
basic = { user = "landfall", password = { env = "KEY" } }
submit = { path = "/jobs/{marker}", json = { sql = "{query}", to = "{address}" }, id = "/id" }
find = { path = "/jobs?marker={marker}", id = "/jobs/0/id" }
look = { path = "/jobs/{id}", status = "/status", statuses = { FINE = "done" }, phase = "/phase", phases = { W = "export" } }
cancel = { path = "/jobs/{id}/cancel" }
"#,
    ),
    (
        "platform",
        "http-job",
        r#"
endpoint = "https://jobs.example.com/api"
dialect = "trino"
submit = { path = "/jobs/{marker}", form = { sql = "{query}", to = "{address}" }, id = "/id" }
find = { method = "POST", path = "/jobs?marker={marker}", id = "/jobs/0/id" }
look = { method = "POST", path = "/jobs/{id}", status = "/status", statuses = { FINE = "done" } }
"#,
    ),
    (
        "platform",
        "trino",
        r#"
endpoint = "https://trino.example.com"
user = "landfall"
seed = "memory.default"
outputs = { x = { schema = "memory.default" } }
"#,
    ),
    (
        "target",
        "mysql",
        r#"
url = { env = "URL" }
table = "landfall_canary"
"#,
    ),
    (
        "target",
        "object-store",
        r#"
bucket = "example"
prefix = "landfall"
access_key_id = { env = "KEY" }
secret_access_key = { env = "SECRET" }
"#,
    ),
    (
        "target",
        "object-store",
        r#"
bucket = "example"
prefix = "landfall"
access_key_id = "AKIA"
secret_access_key = { env = "SECRET" }
result_access_key_id = { env = "KEY" }
result_secret_access_key = { env = "SECRET" }
"#,
    ),
    (
        "target",
        "object-store",
        r#"
service = "gcs"
bucket = "example"
prefix = "landfall"
credential = { env = "KEY" }
"#,
    ),
    (
        "target",
        "object-store",
        r#"
service = "azblob"
account = "example"
container = "example"
prefix = "landfall"
account_key = { env = "KEY" }
"#,
    ),
    (
        "target",
        "object-store",
        r#"
service = "azblob"
account = "example"
container = "example"
prefix = "landfall"
sas_token = { env = "KEY" }
"#,
    ),
    (
        "target",
        "object-store",
        r#"
service = "fs"
root = "/mnt/results"
prefix = "landfall"
"#,
    ),
    (
        "target",
        "postgresql",
        r#"
url = { env = "URL" }
table = "landfall_canary"
"#,
    ),
    (
        "target",
        "sftp",
        r#"
url = "sftp://landfall@sftp.example.com/incoming/landfall"
password = { env = "PASSWORD" }
host_key = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
"#,
    ),
    (
        "target",
        "sftp",
        r#"
host = "sftp.example.com"
user = "landfall"
path = "incoming/landfall"
key = { env = "KEY" }
known_hosts = "known_hosts"
"#,
    ),
    (
        "target",
        "treasure-data-table",
        r#"
endpoint = "https://api.treasuredata.com"
api_key = { env = "KEY" }
database = "landfall"
table = "landfall_canary"
engine = "presto"
"#,
    ),
    ("target", "webhook", ""),
    ("notify", "alertmanager", r#"urls = ["http://am.example.com:9093"]"#),
    (
        "notify",
        "alertmanager",
        r#"
urls = ["http://am.example.com:9093"]
user = "landfall"
password = { env = "PASSWORD" }
"#,
    ),
    (
        "notify",
        "email",
        r#"
server = "smtp.example.com"
user = "landfall"
password = { env = "PASSWORD" }
from = "data@example.com"
to = ["data@example.com"]
"#,
    ),
    ("notify", "pagerduty", r#"routing_key = { env = "KEY" }"#),
    ("notify", "webhook", r#"url = "https://hooks.example.com/landfall""#),
];
