//! Each mistake is answered at its place, in words, and without repeating a value.

use serde::Deserialize;

use super::*;
use crate::config::{Length, SecretSource, problem::place};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it decodes is asked")]
struct Account {
    url: Spanned<String>,
    password: Spanned<SecretSource>,
    port: Option<u16>,
    share: Option<f64>,
    offset: Option<i8>,
    tls: Option<Tls>,
    wait: Option<Length>,
    names: Option<Vec<String>>,
    kind: Option<Shape>,
    strict: Option<bool>,
    at: Option<std::net::SocketAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it decodes is asked")]
struct Tls {
    ca: String,
    verify: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shape {
    Round,
    Square,
}

const GOOD: &str = "url = 'u'\npassword = { env = 'P' }\n";

/// `line:column what | hint`, one a complaint.
fn complaints(text: &str) -> Vec<String> {
    let table = DeTable::parse(text).expect("TOML");
    let decoded = decode::<Account>(&table, 0..0);
    assert_eq!(decoded.value.is_none() || !decoded.complaints.is_empty(), !decoded.complaints.is_empty());
    let show = |(at, what, hint): Complaint| {
        let (line, column) = place(text, at.start);
        format!("{line}:{column} {what} | {}", hint.unwrap_or_default())
    };
    decoded.complaints.into_iter().map(show).collect()
}

fn after_good(line: &str) -> String {
    let mut found = complaints(&format!("{GOOD}{line}"));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_right_table_decodes() {
    assert!(complaints(GOOD).is_empty());
    let rest = "port = 1\nshare = 0.5\ntls = { ca = 'x' }\nwait = '5s'\nnames = ['a']\nkind = 'round'\nstrict = true";
    assert!(complaints(&format!("{GOOD}{rest}")).is_empty());
}

#[test]
fn wrong_types_are_named_at_the_value_and_answered_with_what_to_write() {
    assert_eq!(after_good("port = '80'"), "3:8 `port` is a string | write an integer from 0 to 65535");
    assert_eq!(after_good("port = 70000"), "3:8 `port` is out of range | write an integer from 0 to 65535");
    assert_eq!(
        after_good("port = 99999999999999999999999"),
        "3:8 `port` is out of range | write an integer from 0 to 65535"
    );
    assert_eq!(after_good("offset = 200"), "3:10 `offset` is out of range | write an integer from -128 to 127");
    assert_eq!(after_good("share = [1]"), "3:9 `share` is an array | write a number");
    assert_eq!(after_good("strict = 1"), "3:10 `strict` is an integer | write true or false");
    assert_eq!(after_good("names = 'a'"), "3:9 `names` is a string | write an array: [ … ]");
    assert_eq!(after_good("names = ['a', 5]"), "3:15 `names` is an integer | write a string: \"…\"");
    assert_eq!(after_good("tls = 'yes'"), "3:7 `tls` is a string | write a table: { … }");
    assert_eq!(after_good("tls = 2015-08-24"), "3:7 `tls` is a date-time | ");
    assert_eq!(after_good("at = 'here'"), "3:6 `at`: invalid socket address syntax | ");
}

#[test]
fn unknown_words_are_answered_with_the_one_that_was_meant() {
    assert_eq!(after_good("prot = 80"), "3:1 unknown key `prot` | did you mean `port`?");
    assert_eq!(after_good("kind = 'squre'"), "3:8 unknown value `squre` | did you mean `square`?");
    assert_eq!(after_good("kind = 'oval'"), "3:8 unknown value `oval` | values are round, square");
    assert_eq!(after_good("[tls]\nca = 'x'\nverfy = true"), "5:1 unknown key `verfy` | did you mean `verify`?");
    assert_eq!(
        after_good("\"a`, expected `b\" = 1"),
        "3:1 unknown key `a`, expected `b` | keys here are url, password, port, share, offset, tls, wait, names, kind, strict, at"
    );
}

#[test]
fn missing_keys_are_told_at_their_own_table() {
    assert_eq!(complaints("url = 'u'"), ["1:1 `password` is missing | write password = …"]);
    assert_eq!(after_good("tls = { verify = true }"), "3:7 `ca` is missing | write ca = …");
    assert_eq!(after_good("[tls]\nverify = true"), "3:1 `ca` is missing | write ca = …");
    assert_eq!(after_good("tls.verify = true").split_once(' ').expect("a place").1, "`ca` is missing | write ca = …");
}

#[test]
fn all_mistakes_are_told_at_once_and_a_wrong_key_is_not_missing_too() {
    assert_eq!(
        complaints("url = 5\npasword = 'x'\nport = 'x'\nwait = 90"),
        [
            "2:1 unknown key `pasword` | did you mean `password`?",
            "3:8 `port` is a string | write an integer from 0 to 65535",
            "1:7 `url` is an integer | write a string: \"…\"",
            "4:8 `wait = 90` has no unit | write \"90s\" or \"15m\"",
        ]
    );
}

#[test]
fn a_secret_in_the_wrong_place_is_never_repeated() {
    for line in ["port = 'hunter2'", "share = 'hunter2'", "names = 'hunter2'", "tls = 'hunter2'", "strict = 'hunter2'"]
    {
        assert!(!after_good(line).contains("hunter2"));
    }
    let found = complaints("url = 'u'\npassword = 'hunter2'");
    assert_eq!(found, ["2:12 `password` is a string | write { env = \"NAME\" } or { file = \"path\" }"]);
}

#[test]
fn many_mistakes_end_somewhere() {
    let text: String = (0..1000).map(|n| format!("unknown_{n} = 1\n")).collect();
    assert_eq!(complaints(&text).len(), MOST);
}
