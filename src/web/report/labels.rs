//! Labels and routes of answers, as people read them.

use serde_json::Value;

/// `worker=v5 target=web`, or `everything`.
pub fn text(labels: &Value) -> String {
    match labels.as_object().filter(|labels| !labels.is_empty()) {
        None => "everything".to_owned(),
        Some(labels) => {
            let pair = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap_or_default());
            labels.iter().map(pair).collect::<Vec<_>>().join(" ")
        }
    }
}

/// `canary/platform/target/mode`.
pub fn route(route: &Value) -> String {
    ["canary", "platform", "target", "mode"].map(|part| route[part].as_str().unwrap_or("-")).join("/")
}
