//! `jobs` of a platform and `schemes` of a target: how customers' jobs, as a platform remembers them, map to
//! what is watched.

use schemars::Schema;
use serde_json::json;

use super::{
    agent::{brief, check_text, text},
    declared::Declared,
    labels,
    problem::Problems,
    spanned::Spanned,
};
use crate::detect::incident::LabelSet;

/// The field that is none of a job's own: with which platform's access it is read. One that is not there (any
/// more) reads nothing: `check` warns of it.
pub const ACCOUNT: &str = "account";
/// Most sets of fields, and most schemes: more is a mistake.
const MOST: usize = 64;
/// Longest scheme: that of `treasure_data` is the longest in use.
const LONGEST_SCHEME: usize = 32;

/// What `jobs` is, for schemas: a set has a field beside [`ACCOUNT`].
pub(super) fn describe_fields(schema: &mut Schema) {
    let set = json!({
        "type": "object",
        "additionalProperties": text(),
        "not": { "propertyNames": { "const": ACCOUNT } },
    });
    schema.insert("items".to_owned(), set);
    schema.insert("maxItems".to_owned(), MOST.into());
}

/// What `schemes` is, for schemas.
pub(super) fn describe_schemes(schema: &mut Schema) {
    let pattern = format!("^[a-z0-9+._-]{{1,{LONGEST_SCHEME}}}$");
    schema.insert("items".to_owned(), json!({ "type": "string", "pattern": pattern }));
    schema.insert("maxItems".to_owned(), MOST.into());
}

/// The sets of fields of `jobs`.
pub(super) fn fields(
    written: Vec<Spanned<labels::Written>>,
    declared: &Declared<'_>,
    problems: &mut Problems,
) -> Vec<LabelSet> {
    let mut wrong = |at: std::ops::Range<usize>, what: String, hint: String| {
        problems.push(declared.section.problem(at, what, Some(hint)));
    };
    if let Some(one) = written.get(MOST) {
        wrong(one.span(), format!("{} sets of `jobs` are too many", written.len()), format!("{MOST} are the most"));
    }
    let mut sets = Vec::new();
    for one in written.into_iter().take(MOST) {
        let at = one.span();
        let set: LabelSet = one.into_inner().pairs().collect();
        if set.iter().all(|(name, _)| name == ACCOUNT) {
            let hint = "write what its jobs have in common: { type = \"presto\" }".to_owned();
            wrong(at.clone(), "`jobs` has a set without fields".to_owned(), hint);
        }
        for (name, value) in &set {
            if let Err(why) = check_text(value) {
                let hint = "write a field as the platform's list of jobs has it".to_owned();
                wrong(at.clone(), format!("field `{}` {why}", brief(name)), hint);
            }
        }
        sets.push(set);
    }
    sets
}

/// The schemes of `schemes`.
pub(super) fn schemes(written: Vec<Spanned<String>>, declared: &Declared<'_>, problems: &mut Problems) -> Vec<String> {
    let fits = |scheme: &str| {
        (1..=LONGEST_SCHEME).contains(&scheme.len())
            && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-._".contains(&byte))
    };
    for scheme in written.iter().filter(|scheme| !fits(scheme.get_ref())) {
        let what = format!("`{}` is not a scheme", brief(scheme.get_ref()));
        let hint = "write what stands before :// in an address: \"postgresql\"".to_owned();
        problems.push(declared.section.problem(scheme.span(), what, Some(hint)));
    }
    if let Some(one) = written.get(MOST) {
        let what = format!("{} schemes are too many", written.len());
        problems.push(declared.section.problem(one.span(), what, Some(format!("{MOST} are the most"))));
    }
    written.into_iter().map(Spanned::into_inner).filter(|scheme| fits(scheme)).take(MOST).collect()
}
