//! Evidence as bytes. What green runs saw is most of the file and always alike: it is written
//! compactly, times as differences. Anything unusual is JSON. The first byte tells which.

use std::time::Duration;

use crate::canary::{Claim, Control, Evidence, Look, Marker, Phase, Rows, Sighting, Timestamp};

/// First byte of the compact form; JSON begins with `{`.
const COMPACT: u8 = 1;

/// Evidence of a run as bytes.
pub(super) fn encode(run: Marker, evidence: &Evidence) -> Vec<u8> {
    let mut to = Writer { bytes: vec![COMPACT], base: run.minted_at().as_micros() };
    match to.evidence(evidence) {
        Some(()) => to.bytes,
        // Evidence is plain data with text keys, which serde_json always can write.
        None => serde_json::to_vec(evidence).expect("evidence is plain data"),
    }
}

/// Reads it back; none if it is neither.
pub(super) fn decode(run: Marker, bytes: &[u8]) -> Option<Evidence> {
    match bytes.split_first()? {
        (&COMPACT, bytes) => {
            let mut from = Reader { bytes, base: run.minted_at().as_micros() };
            let evidence = from.evidence()?;
            from.bytes.is_empty().then_some(evidence)
        }
        _ => serde_json::from_slice(bytes).ok(),
    }
}

struct Writer {
    bytes: Vec<u8>,
    base: i64,
}

impl Writer {
    /// None: unusual. Every field is named, so that a new one cannot be forgotten here.
    fn evidence(&mut self, evidence: &Evidence) -> Option<()> {
        let Evidence {
            submitted_at,
            accepted_at,
            claim,
            claimed_at,
            phases,
            looks,
            controls,
            away,
            jobs,
            half_empty,
            stages,
        } = evidence;
        let Claim::Done { rows } = claim else { return None };
        if !away.is_empty() || !half_empty.is_zero() || stages.is_some() {
            return None;
        }
        self.time_if(*submitted_at);
        self.time_if(*accepted_at);
        self.time_if(*claimed_at);
        self.number_if(*rows);
        self.number(phases.len() as u64);
        for (phase, at) in phases {
            self.number(*phase as u64);
            self.time(*at);
        }
        self.number(looks.len() as u64);
        for Look { started_at, found } in looks {
            let Sighting { rows, strangers, rival, landed_at } = found.as_ref().ok()?;
            let Rows { expected, right, missing, copies, changed, examples } = rows;
            if !strangers.is_empty() || rival.is_some() || !examples.is_empty() {
                return None;
            }
            self.time(*started_at);
            [expected, right, missing, copies, changed].into_iter().for_each(|n| self.number(u64::from(*n)));
            self.time_if(*landed_at);
        }
        self.number(controls.len() as u64);
        for Control { started_at, passed } in controls {
            passed.as_ref().ok()?;
            self.time(*started_at);
        }
        self.number(jobs.len() as u64);
        for job in jobs {
            self.number(job.len() as u64);
            self.bytes.extend(job.as_bytes());
        }
        Some(())
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.bytes.push(n as u8);
    }

    fn number_if(&mut self, n: Option<u64>) {
        self.bytes.push(n.is_some().into());
        if let Some(n) = n {
            self.number(n);
        }
    }

    /// The difference to the marker's time, its sign in the lowest bit.
    fn time(&mut self, at: Timestamp) {
        let difference = at.as_micros().wrapping_sub(self.base);
        self.number((difference << 1 ^ difference >> 63) as u64);
    }

    fn time_if(&mut self, at: Option<Timestamp>) {
        self.bytes.push(at.is_some().into());
        if let Some(at) = at {
            self.time(at);
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    base: i64,
}

impl Reader<'_> {
    fn evidence(&mut self) -> Option<Evidence> {
        Some(Evidence {
            submitted_at: self.optional(Self::time)?,
            accepted_at: self.optional(Self::time)?,
            claimed_at: self.optional(Self::time)?,
            claim: Claim::Done { rows: self.optional(Self::number)? },
            phases: self.many(|from| Some((*Phase::ALL.get(from.number()? as usize)?, from.time()?)))?,
            looks: self.many(Self::look)?,
            controls: self.many(|from| Some(Control { started_at: from.time()?, passed: Ok(()) }))?,
            away: Vec::new(),
            jobs: self.many(Self::text)?,
            half_empty: Duration::ZERO,
            stages: None,
        })
    }

    fn look(&mut self) -> Option<Look> {
        let started_at = self.time()?;
        let rows = Rows {
            expected: self.small()?,
            right: self.small()?,
            missing: self.small()?,
            copies: self.small()?,
            changed: self.small()?,
            examples: Vec::new(),
        };
        Some(Look {
            started_at,
            found: Ok(Sighting { rows, landed_at: self.optional(Self::time)?, ..Sighting::default() }),
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn time(&mut self) -> Option<Timestamp> {
        let n = self.number()?;
        let difference = (n >> 1) as i64 ^ -((n & 1) as i64);
        Some(Timestamp::from_micros(self.base.wrapping_add(difference)))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()?.try_into().ok()?;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => Some(Some(read(self)?)),
            _ => None,
        }
    }

    fn many<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let n = self.number()?;
        (0..n).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::{Away, tally::Difference};

    const AT: Timestamp = Timestamp::from_secs(1_440_452_640);

    fn run() -> Marker {
        Marker::mint(AT, 7)
    }

    fn green() -> Evidence {
        let at = |millis: i64| Timestamp::from_micros(AT.as_micros() + millis * 1000 + 17);
        let mut evidence = Evidence { submitted_at: Some(at(2)), accepted_at: Some(at(40)), ..Evidence::default() };
        evidence.entered(Phase::Queue, at(40));
        evidence.entered(Phase::Execute, at(700));
        evidence.heard(Claim::Done { rows: Some(20) }, at(21_000));
        evidence.entered(Phase::Land, at(21_000));
        let saw = |rows| Ok(Sighting { rows, ..Sighting::default() });
        evidence.saw(Look { started_at: at(21_500), found: saw(Rows::none(20)) });
        evidence.saw(Look { started_at: at(22_500), found: saw(Rows::all_right(20)) });
        evidence.controlled(Control { started_at: at(21_600), passed: Ok(()) });
        evidence.jobs = vec!["12345678".into(), "12345679".into()];
        evidence
    }

    #[test]
    fn evidence_reads_back_as_it_was() {
        let mut all = vec![green(), Evidence::default()];
        let mut with = |change: &dyn Fn(&mut Evidence)| {
            let mut evidence = green();
            change(&mut evidence);
            all.push(evidence);
        };
        with(&|e| e.away = vec![Away { from: AT, until: AT.plus(std::time::Duration::from_secs(1)) }]);
        with(&|e| e.saw(Look { started_at: AT, found: Err("blind".into()) }));
        with(&|e| e.controlled(Control { started_at: AT, passed: Err("broken".into()) }));
        with(&|e| e.claim = Claim::Error { phase: Phase::Export, detail: "ü \u{1f600} \"".into() });
        with(&|e| e.submitted_at = None);
        with(&|e| e.jobs = vec![String::new(), "\u{1f600}".repeat(100)]);
        with(&|e| e.claimed_at = Some(Timestamp::from_micros(i64::MIN / 2)));
        with(&|e| {
            let difference = Difference { row: 1, column: "c".into(), expected: "a".into(), found: "b".into() };
            let rows = Rows { changed: 1, right: 19, expected: 20, examples: vec![difference], ..Rows::default() };
            e.saw(Look { started_at: AT, found: Ok(Sighting { rows, ..Sighting::default() }) });
        });
        with(&|e| {
            let seen = Sighting { rows: Rows::all_right(20), strangers: vec![run()], rival: None, landed_at: Some(AT) };
            e.saw(Look { started_at: AT, found: Ok(seen) });
        });
        with(&|e| {
            let seen = Sighting { rival: Some(run()), ..Sighting::default() };
            e.saw(Look { started_at: AT, found: Ok(seen) });
        });
        for evidence in all {
            assert_eq!(decode(run(), &encode(run(), &evidence)).as_ref(), Some(&evidence));
        }
    }

    #[test]
    fn what_a_green_run_saw_takes_a_sixth_of_its_json() {
        let (compact, json) = (encode(run(), &green()), serde_json::to_vec(&green()).expect("JSON"));
        assert!(compact.len() * 6 < json.len(), "{} of {}", compact.len(), json.len());
    }

    #[test]
    fn broken_bytes_are_nothing_and_never_a_panic() {
        let whole = encode(run(), &green());
        for end in 0..whole.len() {
            assert_eq!(decode(run(), &whole[..end]), None);
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = decode(run(), &changed);
            }
        }
        assert_eq!(decode(run(), &[COMPACT, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f]), None, "a count of billions");
    }
}
