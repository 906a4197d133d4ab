//! The impact of a report: the customers' jobs that an incident hit, those that it may have hit, and how far
//! the agent could see. A list that is short because nobody could look is never shown as one that is short.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _};

use super::{
    NOT_KNOWN, Report,
    markdown::{code, line, table},
};
use crate::{
    canary::Timestamp,
    detect::impact::{Bracket, Hit, Impact},
};

/// Jobs shown, of those that were hit and of those that may have been: all of them are a sheet.
const JOBS: usize = 50;
/// Owners shown, those with most jobs first.
const OWNERS: usize = 50;

/// What is known of customers' jobs.
#[derive(Debug)]
pub enum Customers {
    /// Whoever wants the report did not want them.
    NotAsked,
    /// What the agent found.
    Found(Box<Impact>),
    /// The agent found nothing out, and why.
    Unseen(String),
}

impl Report {
    /// Nothing that was asked for may be missing.
    pub fn is_whole(&self) -> bool {
        match &self.customers {
            Customers::NotAsked => true,
            Customers::Found(found) => found.is_whole,
            Customers::Unseen(_) => false,
        }
    }

    pub(super) fn impact(&self, out: &mut String) {
        out.push_str("## Impact\n\n");
        let how = format!("landfall impact {} --agent {}", self.text("id"), self.agent);
        let _ = match &self.customers {
            Customers::NotAsked => {
                writeln!(out, "Customers' jobs that it hit were not asked for. This lists them: {}\n", code(&how))
            }
            Customers::Unseen(why) => writeln!(
                out,
                "Which customers' jobs it hit could not be found out: {}\n\nThis asks again: {}\n",
                line(why),
                code(&how)
            ),
            Customers::Found(found) => {
                write(out, found);
                writeln!(
                    out,
                    "All jobs, with what exports each result again: {}\n",
                    code(&format!("{how} --format csv"))
                )
            }
        };
    }
}

/// What a reader of the list must know.
pub fn remarks(found: &Impact) -> Vec<String> {
    let mut remarks = found.notes.clone();
    for account in &found.accounts {
        let whose = account.platforms.join(", ");
        remarks.push(match &account.cut {
            Some(cut) if account.jobs == 0 => format!("{whose} could not be asked: {cut}"),
            Some(cut) => format!("{whose}: not all jobs since {} were read: {cut}", account.since),
            None => format!("{whose}: {} jobs were read, back to {}", account.jobs, account.since),
        });
    }
    remarks
}

fn write(out: &mut String, found: &Impact) {
    let (hit, unsure): (Vec<&Hit>, Vec<&Hit>) = found.jobs.iter().partition(|job| job.certain);
    let _ = writeln!(out, "{}\n", line(&begin(found, hit.len(), unsure.len())));
    for remark in remarks(found) {
        let _ = writeln!(out, "- {}", line(&remark));
    }
    out.push('\n');
    if found.jobs.is_empty() {
        return;
    }
    if found.brackets.len() > 1 {
        let _ = writeln!(out, "The fault came {} times.\n", found.brackets.len());
    }
    for bracket in &found.brackets {
        let _ = writeln!(out, "{}\n", line(&span(bracket)));
    }
    let or_unknown = |text: Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or(NOT_KNOWN).to_owned();
    counts(out, "Platform", found, usize::MAX, |job| or_unknown(job.platform.as_deref()));
    counts(out, "Owner", found, OWNERS, |job| or_unknown(job.owner.as_deref()));
    counts(out, "Kind of output", found, usize::MAX, |job| or_unknown(Some(&job.scheme)));
    let base = |job: &Hit| {
        let when = |at: Option<Timestamp>| at.map_or(NOT_KNOWN.to_owned(), |at| at.to_string());
        [
            job.job_id.clone(),
            or_unknown(job.platform.as_deref()),
            or_unknown(job.owner.as_deref()),
            when(job.query_start),
            when(job.end),
            or_unknown(Some(&job.address)),
        ]
    };
    let head = ["Job", "Platform", "Owner", "Query began", "Over", "Output to"];
    list(out, "Hit", head, &hit, base);
    let [a, b, c, d, e, f] = head;
    list(out, "May have been hit", [a, b, c, d, e, f, "Why it is not certain"], &unsure, |job| {
        let [a, b, c, d, e, f] = base(job);
        [a, b, c, d, e, f, or_unknown(job.because.as_deref())]
    });
}

/// What the numbers come to, in a sentence that promises no more than was seen.
fn begin(found: &Impact, hit: usize, unsure: usize) -> String {
    if found.accounts.is_empty() {
        return "No platform's jobs were read:".to_owned();
    }
    let of = "customers' jobs with an output that ended well, as their platform says";
    match (found.jobs.is_empty(), found.is_whole) {
        (true, true) => format!("No job was hit, of the {of}. What was read:"),
        (true, false) => {
            format!("No job is known to have been hit, of the {of}; not all could be seen, so some may have been:")
        }
        (false, true) => format!("{hit} jobs were hit, {unsure} more may have been, of the {of}. What was read:"),
        (false, false) => format!(
            "At least {hit} jobs were hit, {unsure} more may have been, of the {of}; not all could be seen, so jobs may be \
             missing:"
        ),
    }
}

/// When the fault hit what was written.
fn span(bracket: &Bracket) -> String {
    let or = |at: Option<Timestamp>, none: &str| at.map_or(none.to_owned(), |at| at.to_string());
    format!(
        "By what canaries wrote, the fault began between {} and {} and ended between {} and {}.",
        or(bracket.last_good, "a time that is not known"),
        bracket.first_bad,
        bracket.last_bad,
        or(bracket.first_good, &format!("{}, when this was asked, if it has", bracket.asked_at)),
    )
}

/// How many jobs, by what they have in common; most first.
fn counts(out: &mut String, what: &str, found: &Impact, most: usize, of: impl Fn(&Hit) -> String) {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for job in &found.jobs {
        let (hit, unsure) = counts.entry(of(job)).or_default();
        (*hit, *unsure) = (*hit + usize::from(job.certain), *unsure + usize::from(!job.certain));
    }
    let mut counts: Vec<(String, (usize, usize))> = counts.into_iter().collect();
    counts.sort_by_key(|(_, (hit, unsure))| Reverse(hit + unsure));
    let more = counts.len().saturating_sub(most);
    let row = |(name, (hit, unsure)): (String, (usize, usize))| [name, hit.to_string(), unsure.to_string()];
    table(out, [what, "Jobs hit", "May have been hit"], counts.into_iter().take(most).map(row).collect());
    if more > 0 {
        let _ = writeln!(out, "And {more} more.\n");
    }
}

fn list<const N: usize>(
    out: &mut String,
    name: &str,
    head: [&str; N],
    jobs: &[&Hit],
    row: impl Fn(&Hit) -> [String; N],
) {
    if jobs.is_empty() {
        return;
    }
    let _ = writeln!(out, "### {name}\n");
    table(out, head, jobs.iter().take(JOBS).map(|job| row(job)).collect());
    if let Some(more) = jobs.len().checked_sub(JOBS).filter(|more| *more > 0) {
        let _ = writeln!(out, "And {more} more.\n");
    }
}
