//! Where a job's result was to go, read from what the platform tells: a URL, settings in JSON, or the name of
//! a saved connection. Platforms mask secrets in it, or do not: nothing that may be one is kept.

use serde_json::{Map, Value as Json};

use super::Output;
use crate::canary::Mode;

/// Stands where something was taken out.
const MASK: &str = "…";
/// Longest address that is shown.
const LONGEST: usize = 500;
/// Longest scheme.
const LONGEST_SCHEME: usize = 32;
/// Longest value of an option that is shown: names of columns and formats are shorter, keys are not.
const LONGEST_VALUE: usize = 64;
/// A part of a path as long as this, with digits in it, may be a token.
const TOKEN: usize = 16;

/// Options of a URL, and settings, that say where and how, and are no secrets. Every other value is masked.
const PLAIN: [&str; 30] = [
    "bucket",
    "collection",
    "compression",
    "database",
    "dataset",
    "datasource",
    "delimiter",
    "format",
    "header",
    "header_line",
    "host",
    "index",
    "index_type",
    "legacy",
    "method",
    "mode",
    "newline",
    "null",
    "path",
    "path_prefix",
    "port",
    "project",
    "region",
    "schema",
    "site",
    "ssl",
    "table",
    "type",
    "unique",
    "upsert",
];

impl Output {
    /// Reads it; none if the result was to go nowhere.
    pub fn read(address: &str) -> Option<Self> {
        let address = address.trim();
        if address.is_empty() {
            return None;
        }
        if let Ok(Json::Object(settings)) = serde_json::from_str(address) {
            return Some(of_settings(&settings));
        }
        match address.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => Some(of_url(&scheme.to_ascii_lowercase(), rest)),
            _ => Some(of_name(address)),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    (1..=LONGEST_SCHEME).contains(&text.len()) && text.chars().all(fits)
}

fn of_url(scheme: &str, rest: &str) -> Output {
    let (has_login, place, query) = parted(rest);
    let mut shown = format!("{scheme}://");
    if has_login {
        shown.push_str(MASK);
        shown.push('@');
    }
    shown.push_str(&if matches!(scheme, "web" | "webs" | "http" | "https") {
        without_tokens(place)
    } else {
        place.into()
    });
    let pairs: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    for (at, (name, value)) in pairs.iter().enumerate() {
        shown.push(if at == 0 { '?' } else { '&' });
        shown.push_str(&option(name, value));
    }
    let mode = pairs.iter().find(|(name, _)| *name == "mode").map_or("append", |(_, value)| value);
    Output { scheme: scheme.to_owned(), mode: mode.parse().ok(), shown: plain(&shown) }
}

/// Whether a URL has credentials, and what comes after them: the place, and the query. Passwords may have any
/// character in them, written as it is: all before the last `@` that could end them goes.
fn parted(rest: &str) -> (bool, &str, &str) {
    let plain = |text: &'_ str| text.split_once('#').map_or(text.len(), |(before, _)| before.len());
    let before = rest.split_once('?').map_or(rest, |(before, _)| before);
    // `user:pass?word@host` looks like `host:port?a=b@c`, and what may be a password is none to show.
    let authority = before.split('/').next().unwrap_or_default();
    let port = if authority.starts_with('[') { None } else { authority.split_once(':').map(|(_, port)| port) };
    let last = match (before.rfind('@'), port) {
        (Some(at), _) => Some(at),
        (None, Some(port)) => match rest.rfind('@') {
            Some(at) => Some(at),
            None if port.bytes().all(|byte| byte.is_ascii_digit()) => None,
            // Something like a login, and no server.
            None => return (true, "", ""),
        },
        (None, None) => None,
    };
    let rest = last.map_or(rest, |at| &rest[at + 1..]);
    let rest = &rest[..plain(rest)];
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    (last.is_some(), place, query)
}

/// Receivers are often known by a token in their path.
fn without_tokens(place: &str) -> String {
    let is_token = |part: &str| part.len() >= TOKEN && part.bytes().any(|byte| byte.is_ascii_digit());
    let mut parts = place.split('/');
    let host = parts.next().unwrap_or_default().to_owned();
    parts.fold(host, |shown, part| shown + "/" + if is_token(part) { MASK } else { part })
}

fn option(name: &str, value: &str) -> String {
    let is_plain = PLAIN.contains(&name)
        && value.len() <= LONGEST_VALUE
        && value.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ',' | '%'));
    let is_name = name.len() <= LONGEST_VALUE && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match (is_name, is_plain) {
        (true, true) => format!("{name}={value}"),
        (true, false) => format!("{name}={MASK}"),
        (false, _) => MASK.to_owned(),
    }
}

fn of_settings(settings: &Map<String, Json>) -> Output {
    let scheme = settings.get("type").and_then(Json::as_str).filter(|kind| is_scheme(kind)).unwrap_or("json");
    let mode = settings.get("mode").and_then(Json::as_str).and_then(|mode| mode.parse().ok());
    let shown = |(name, value): (&String, &Json)| {
        let text = match value {
            Json::String(text) => text.clone(),
            Json::Number(number) => number.to_string(),
            Json::Bool(flag) => flag.to_string(),
            _ => return format!("{}={MASK}", plain(name)),
        };
        let is_plain = PLAIN.contains(&name.as_str()) && !text.contains(['@', ':', '=', '&']);
        format!("{}={}", plain(name), if is_plain { &text } else { MASK })
    };
    let pairs: Vec<String> = settings.iter().take(PLAIN.len()).map(shown).collect();
    Output { scheme: scheme.to_ascii_lowercase(), mode, shown: plain(&pairs.join(" ")) }
}

/// `NAME:table`, and whatever else: all but a name may be a secret.
fn of_name(address: &str) -> Output {
    let name = address.split(':').next().unwrap_or_default();
    let is_name = name.len() < address.len()
        && (3..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let shown = if is_name { format!("{name}:{MASK}") } else { MASK.to_owned() };
    let mode = Mode::ALL.into_iter().find(|mode| address.ends_with(&format!("mode={mode}")));
    Output { scheme: "name".to_owned(), mode, shown }
}

/// One line, bounded.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(address: &str) -> (String, Option<Mode>, String) {
        let Output { scheme, mode, shown } = Output::read(address).expect("an output");
        (scheme, mode, shown)
    }

    #[test]
    fn addresses_keep_where_they_lead_and_no_secret() {
        let append = Some(Mode::Append);
        for (address, scheme, mode, masked) in [
            ("postgresql://u:hunter2@db:5432/d/t", "postgresql", append, "postgresql://…@db:5432/d/t"),
            (
                "postgresql://u:hunt@er2@db/d/t?mode=replace",
                "postgresql",
                Some(Mode::Replace),
                "postgresql://…@db/d/t?mode=replace",
            ),
            (
                "mysql://u:hunter2?x@db/d/t?unique=id&mode=update",
                "mysql",
                Some(Mode::Update),
                "mysql://…@db/d/t?unique=id&mode=update",
            ),
            (
                "s3://AK:hunter2/a+b@/bucket/p.csv?format=csv&secret=hunter2",
                "s3",
                append,
                "s3://…@/bucket/p.csv?format=csv&secret=…",
            ),
            ("td://1/hunter2@/db/t", "td", append, "td://…@/db/t"),
            (
                "td://api.example.com/db/t?apikey=hunter2&mode=append",
                "td",
                append,
                "td://api.example.com/db/t?apikey=…&mode=append",
            ),
            (
                "webs://hooks.example/services/T1/Xhunter2hunter2hunter2",
                "webs",
                append,
                "webs://hooks.example/services/T1/…",
            ),
            ("web://[::1]:80/x?a=b@c", "web", append, "web://[::1]:80/x?a=…"),
            ("TD://x:hunter2@/a/b?mode=hunter2:x", "td", None, "td://…@/a/b?mode=…"),
            (
                r#"{"type":"tableau","host":"h","password":"hunter2","mode":"replace"}"#,
                "tableau",
                Some(Mode::Replace),
                "host=h mode=replace password=… type=tableau",
            ),
            (r#"{"type":"x","url":"a://b:hunter2@c","nodes":["hunter2"]}"#, "x", None, "nodes=… type=x url=…"),
            ("my_db:hunter2", "name", None, "my_db:…"),
            ("my_db:table?mode=replace", "name", Some(Mode::Replace), "my_db:…"),
            ("hunter2", "name", None, "…"),
            ("postgresql://u:hunter2", "postgresql", append, "postgresql://…@"),
            ("hunter 2://x", "name", None, "…"),
        ] {
            assert_eq!(shown(address), (scheme.to_owned(), mode, masked.to_owned()), "{address}");
        }
        assert_eq!((Output::read(""), Output::read("  ")), (None, None));
    }

    #[test]
    fn no_text_makes_it_panic_or_say_a_password() {
        let mut dice = fastrand::Rng::with_seed(7);
        let parts = ["://", "@", ":", "/", "?", "#", "&", "=", "mode", "u", "é", "[", "{", "\"", "\n", "td", " "];
        for _ in 0..20_000 {
            let n = dice.usize(0..9);
            let noise: String = (0..n).map(|_| parts[dice.usize(..parts.len())]).collect();
            let _ = Output::read(&noise);
            // Whatever stands in a password, all of it goes.
            let address = format!("postgresql://user:hunter2{}@db.example/d/t", noise);
            let Output { shown, .. } = Output::read(&address).expect("an output");
            assert!(!shown.contains("hunter2"), "{address} {shown}");
        }
    }
}
