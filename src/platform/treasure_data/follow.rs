//! Following: what a query job and the export linked to it say together.

use std::time::Duration;

use super::TreasureData;
use crate::{
    canary::{Phase, Timestamp},
    platform::{PlatformError, Progress},
    treasure_data_api::{JobId, Report, Status},
};

/// How long after the end of a query its export may take to be linked to it, where exports are
/// linked at all. No public source says when that happens; the two jobs are made by the same
/// service, so it is a matter of moments.
const LINK_GRACE: Duration = Duration::from_secs(5);

/// Schemes remembered: there are fewer kinds of Result Output than that.
const SCHEMES: usize = 32;

impl TreasureData {
    /// What became of a query that succeeded, and of what it was to write.
    ///
    /// Whether `success` means "computed" or "written", and when an export is linked, no public
    /// source says. Both are met: a linked export's end is the job's end, whenever the link shows.
    /// Without a link the query's word counts: after a short grace by the platform's own clock, or
    /// at once where a grace has passed in vain before and no link was ever seen for this kind of
    /// address. A link that shows later still is followed by later looks; and whether rows landed,
    /// the target decides.
    pub(super) async fn after_success(
        &self,
        query: &Report,
        export: Option<&JobId>,
        at: Option<Timestamp>,
    ) -> Result<(Progress, Option<Report>), PlatformError> {
        let done = Progress::Done { rows: query.rows };
        let Some(export) = export else {
            let awaited = if self.link_is_due(query, at) { Progress::Running(Phase::Export) } else { done };
            return Ok((awaited, None));
        };
        let report = match self.show(export).await {
            Ok(Some((report, _))) => report,
            // A job that this key may not see says nothing; the query's word is what there is.
            Ok(None) | Err(PlatformError::Denied { .. }) => return Ok((done, None)),
            Err(error) => return Err(error),
        };
        let progress = match report.status {
            Status::Waiting | Status::Running => Progress::Running(Phase::Export),
            Status::Success => done,
            Status::Error => Progress::Error { phase: Phase::Export, detail: self.reason(&report) },
            Status::Killed => Progress::Killed { phase: Phase::Export },
        };
        Ok((progress, Some(report)))
    }

    /// Whose fault it is that a query with an export failed.
    pub(super) async fn after_error(
        &self,
        query: &Report,
        export: Option<&JobId>,
    ) -> Result<(Progress, Option<Report>), PlatformError> {
        if let Some(export) = export
            && let Ok(Some((report, _))) = self.show(export).await
        {
            match report.status {
                Status::Error => {
                    let detail = self.reason(&report);
                    return Ok((Progress::Error { phase: Phase::Export, detail }, Some(report)));
                }
                Status::Killed => return Ok((Progress::Killed { phase: Phase::Export }, Some(report))),
                Status::Waiting | Status::Running | Status::Success => {}
            }
        }
        Ok((Progress::Error { phase: query.failed_in(), detail: self.reason(query) }, None))
    }

    fn link_is_due(&self, query: &Report, at: Option<Timestamp>) -> bool {
        let (Some(output), Some(ended), Some(at)) = (&query.output, query.ended_at, at) else { return false };
        // A clock that shows less than the end tells nothing.
        if at < ended {
            return false;
        }
        let in_grace = at.since(ended) < LINK_GRACE;
        if !in_grace {
            self.learn_links(query, false);
        }
        in_grace && self.known().links.get(output) != Some(&false)
    }

    /// A link once seen counts for good; a grace passed in vain counts until one is.
    pub(super) fn learn_links(&self, query: &Report, linked: bool) {
        let Some(output) = &query.output else { return };
        let mut known = self.known();
        if known.links.len() < SCHEMES || known.links.contains_key(output) {
            *known.links.entry(output.clone()).or_default() |= linked;
        }
    }

    fn reason(&self, report: &Report) -> String {
        if report.log.is_empty() { "no reason given".to_owned() } else { self.api.shown_end(&report.log) }
    }
}

/// The platform's own times: when each phase began.
pub(super) fn phases(query: &Report, export: Option<&Report>, progress: &Progress) -> Vec<(Phase, Timestamp)> {
    let landing = matches!(progress, Progress::Done { .. }).then(|| export.unwrap_or(query).ended_at).flatten();
    let times = [
        (Phase::Queue, query.created_at),
        (Phase::Execute, query.started_at),
        (Phase::Export, export.and_then(|export| export.created_at.or(export.started_at))),
        (Phase::Land, landing),
    ];
    times.into_iter().filter_map(|(phase, at)| Some((phase, at?))).collect()
}
