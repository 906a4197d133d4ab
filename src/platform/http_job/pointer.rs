//! JSON pointers (RFC 6901): where in an answer something stands.

use serde_json::Value as Json;

/// Longest id of a job: it goes into paths, and with every run into the ledger.
const LONGEST_ID: usize = 1024;
/// Longest word for a status or phase that is shown.
const LONGEST_WORD: usize = 80;

/// What one looks like, for schemas.
pub(super) const POINTER: &str = "^(/([^~]|~[01])*)?$";

/// A place in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(String);

impl Pointer {
    /// `""` is the whole answer, else each step begins with `/`; `~0` is `~`, `~1` is `/`.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err("does not begin with `/`");
        }
        let tildes = text.split('~').skip(1);
        if tildes.into_iter().any(|after| !after.starts_with(['0', '1'])) {
            return Err("has a `~` that is not `~0` or `~1`");
        }
        Ok(Self(text.to_owned()))
    }

    /// As it is written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands there; nothing and null are the same.
    pub(super) fn find<'a>(&self, json: &'a Json) -> Option<&'a Json> {
        json.pointer(&self.0).filter(|found| !found.is_null())
    }

    /// A job's id: a text or a whole number.
    pub(super) fn id(&self, json: &Json) -> Result<Option<String>, String> {
        let text = match self.find(json) {
            None => return Ok(None),
            Some(Json::String(text)) => text.clone(),
            Some(Json::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
            Some(_) => return Err(format!("`{}` is not an id", self.0)),
        };
        if text.is_empty() || text.len() > LONGEST_ID || text.chars().any(char::is_control) {
            return Err(format!("`{}` is empty, too long or has control characters", self.0));
        }
        Ok(Some(text))
    }

    /// A word: a text, a number or a boolean as it is written.
    pub(super) fn word(&self, json: &Json) -> Option<String> {
        match self.find(json)? {
            Json::String(text) => Some(text.chars().take(LONGEST_WORD).collect()),
            word @ (Json::Number(_) | Json::Bool(_)) => Some(word.to_string()),
            _ => None,
        }
    }

    /// A count: a number, or a text of digits.
    pub(super) fn count(&self, json: &Json) -> Option<u64> {
        match self.find(json)? {
            Json::String(text) => text.trim().parse().ok(),
            number => number.as_u64(),
        }
    }

    /// A text for people, whatever stands there.
    pub(super) fn text(&self, json: &Json) -> Option<String> {
        match self.find(json)? {
            Json::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            other => Some(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Pointer {
        Pointer::read(text).expect(text)
    }

    #[test]
    fn pointers_are_those_of_the_rfc() {
        let json = json!({"a": [{"b/c": 1, "d~e": 2, "": 3}], "n": null});
        for (text, found) in [("/a/0/b~1c", 1), ("/a/0/d~0e", 2), ("/a/0/", 3)] {
            assert_eq!(at(text).count(&json), Some(found), "{text}");
        }
        assert_eq!(at("").find(&json), Some(&json));
        for nothing in ["/a/1", "/a/00", "/a/-", "/n", "/x/y"] {
            assert_eq!(at(nothing).find(&json), None, "{nothing}");
        }
        assert!(Pointer::read("a").is_err() && Pointer::read("/a~").is_err() && Pointer::read("/a~2").is_err());
    }

    #[test]
    fn an_id_is_a_short_text_or_a_whole_number() {
        for (json, id) in [(json!("a b"), "a b"), (json!(17), "17"), (json!(-1), "-1")] {
            assert_eq!(at("").id(&json), Ok(Some(id.to_owned())));
        }
        assert_eq!(at("/id").id(&json!({"id": null})), Ok(None));
        for bad in [json!(""), json!(1.5), json!(true), json!([1]), json!("x".repeat(1025)), json!("a\nb")] {
            assert!(at("").id(&bad).is_err(), "{bad}");
        }
    }
}
