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

#[test]
fn who_is_told_is_another_once_address_or_key_is_changed_and_the_same_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    for (name, secret) in [("one", "0123456789abcdef0123456789abcdef"), ("two", "3210456789abcdef0123456789abcdef")] {
        std::fs::write(folder.path().join(name), secret).unwrap();
    }
    let said = |table: &str| {
        let identity = opened(folder.path(), table).identity();
        assert!(identity.len() == 64 && identity.bytes().all(|byte| byte.is_ascii_hexdigit()), "{identity}");
        identity
    };
    let pagerduty = "[notify.a.pagerduty]\nrouting_key = { file = \"one\" }\nurl = \"http://127.0.0.1:9/v2/enqueue\"\n";
    let email = "[notify.a.email]\nserver = \"mx.example.com\"\nfrom = \"l@example.com\"\nremind = \"4h\"\n\
                 to = [\"a@example.com\", \"b@example.com\"]\nuser = \"u1\"\npassword = { file = \"one\" }\n";
    let am = "[notify.a.alertmanager]\nurls = [\"http://127.0.0.1:9\", \"http://127.0.0.2:9\"]\n\
              bearer = { file = \"one\" }\n";
    let webhook = "[notify.a.webhook]\nurl = \"http://127.0.0.1:9/x\"\nsecret = { file = \"one\" }\n\
                   remind = \"4h\"\nheaders = { X-One = \"uno\", X-Two = \"due\" }\n";
    let changes: [(&str, &[(&str, &str)]); 4] = [
        (pagerduty, &[("\"one\"", "\"two\""), (":9/", ":10/")]),
        (email, &[("mx.", "mx2."), ("b@", "c@"), (", \"b@example.com\"", ""), ("u1", "u2"), ("\"one\"", "\"two\"")]),
        (am, &[("0.2:9", "0.3:9"), (", \"http://127.0.0.2:9\"", ""), ("\"one\"", "\"two\"")]),
        (webhook, &[("/x", "/y"), ("\"one\"", "\"two\""), ("uno", "tre"), ("X-One", "X-Other")]),
    ];
    let mut seen = Vec::new();
    for (table, changed) in changes {
        let identity = said(table);
        assert_eq!(said(table), identity, "{table}");
        for (from, to) in changed {
            assert!(table.contains(from), "{from} in {table}");
            seen.push(said(&table.replace(from, to)));
        }
        seen.push(identity);
    }
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all, "each change makes another");
    // Who is told stays the same if only the order or the manner is another.
    assert_eq!(said(&email.replace("4h", "5h")), said(email));
    assert_eq!(said(&webhook.replace("4h", "5h")), said(webhook));
    let swapped = email.replace("[\"a@example.com\", \"b@example.com\"]", "[\"b@example.com\", \"A <a@example.com>\"]");
    assert_eq!(said(&swapped), said(email));
}
