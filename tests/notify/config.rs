//! Notifiers as configs write them.

use std::time::Duration;

use landfall::{
    cli::kinds::kinds,
    config::{self, Options},
    notify::Keeps,
    target::webhook::Intake,
};

use crate::fixtures::page::{at, opened};

/// One of each kind, with every key and every secret elsewhere.
const ALL: &str = r#"
[notify.oncall]
severities   = ["critical"]
where        = { platform = "presto" }
second       = "team"
second_after = "45s"
[notify.oncall.pagerduty]
routing_key = { file = "absent/pagerduty.key" }
url         = { env = "LANDFALL_TEST_ABSENT" }

[notify.team.email]
server   = "smtp.example.com"
port     = 2525
tls      = "tls"
insecure = false
user     = "landfall"
password = { file = "absent/smtp.password" }
from     = "Landfall <landfall@example.com>"
to       = ["data@example.com", "Data <data@example.com>"]
remind   = "4h"

[notify.am.alertmanager]
urls   = ["http://127.0.0.1:9093", { file = "absent/am.url" }]
bearer = { file = "absent/am.token" }

[notify.chat.webhook]
url     = { file = "absent/chat.url" }
secret  = { env = "LANDFALL_TEST_ABSENT" }
headers = { Authorization = { file = "absent/token" } }
remind  = "1d"

[platform.presto.treasure-data]
endpoint = "http://127.0.0.1:1"
api_key  = { file = "absent/td.key" }
database = "landfall"
engine   = "presto"
[target.web.webhook]
[canary.result-output]
platforms = ["presto"]
targets   = ["web"]
every     = "1m"
"#;

#[test]
fn without_secrets_every_kind_opens_and_with_them_each_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("landfall.toml");
    std::fs::write(&path, ALL).unwrap();
    let load =
        |without_secrets| config::load(&path, &kinds(&Intake::new()), Options { without_secrets, now: at("00:00:00") });
    let plan = load(true).unwrap_or_else(|problems| panic!("{problems:?}"));
    let kept: Vec<_> = plan
        .notifiers
        .iter()
        .map(|plan| (plan.name.as_str(), plan.driver.manner().keeps, plan.driver.manner().again))
        .collect();
    let hours = |n: u64| Some(Duration::from_secs(n * 3600));
    assert_eq!(
        kept,
        [
            ("oncall", Keeps::Alerts, None),
            ("team", Keeps::Messages, hours(4)),
            ("am", Keeps::ExpiringAlerts, Some(Duration::from_secs(60))),
            ("chat", Keeps::Messages, hours(24)),
        ]
    );
    assert_eq!(plan.notifiers[0].rules.second.as_ref().unwrap().as_str(), "team");
    assert_eq!(load(false).expect_err("secrets are missing").len(), 9);
}

#[test]
fn a_notifier_that_is_printed_shows_where_it_is_and_nothing_secret() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in
        [("url", "https://hooks.example.com:8443/hunter2hunter2?t=hunter2"), ("token", "Bearer hunter2")]
    {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let table = "[notify.chat.webhook]\nurl = { file = \"url\" }\nsecret = { file = \"token\" }\n\
                 headers = { Authorization = { file = \"token\" } }\n";
    let printed = format!("{:?}", opened(folder.path(), table));
    assert!(printed.contains("https://hooks.example.com:8443") && !printed.contains("hunter2"), "{printed}");
}
