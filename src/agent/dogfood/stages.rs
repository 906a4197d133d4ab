//! Stages: what each stage of a report holds, asked when it did not come as it should.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    canary::{
        Carries, Rows, Run, Tally,
        stages::{Stages, agree},
    },
    platform::{Handle, Platform, PlatformError, diary::Diary},
};

/// Longest wait for what a stage holds: it may take a job to find out.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks every stage. None: the run brings no report.
pub async fn ask(platform: &dyn Platform, run: &Run, handle: Option<&Handle>) -> Option<Stages> {
    let (report, diary) = run.report.as_ref().zip(platform.diary())?;
    let (stored, brought) = tokio::join!(in_time(diary.stored(&report.source)), computed(diary, run, handle));
    // All is there, and the query brought a right report of less: perhaps the rest is there only now.
    let is_of_less = brought.as_ref().is_ok_and(|(rows, agree)| *agree && !rows.complete());
    let again = match stored.as_ref() == Ok(&report.entered) && is_of_less {
        true => Some(computed(diary, run, None).await.map(|(rows, _)| rows)),
        false => None,
    };
    Some(Stages { entered: report.entered, stored, computed: brought.map(|(rows, _)| rows), again })
}

/// What a report's query brought, or brings now, compared with what it must; and whether it agrees with itself.
async fn computed(diary: &dyn Diary, run: &Run, handle: Option<&Handle>) -> Result<(Rows, bool), String> {
    let rows = in_time(diary.computed(run, handle)).await?;
    let carries = Carries::default();
    let mut tally = Tally::of(run, &carries);
    rows.iter().for_each(|row| tally.add(row));
    Ok((tally.finish(), agree(&rows)))
}

/// What a stage holds, or why that is not known.
async fn in_time<T>(asked: impl Future<Output = Result<T, PlatformError>>) -> Result<T, String> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
