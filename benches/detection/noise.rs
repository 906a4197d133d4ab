//! What is unpleasant and as ever: nobody may be told of it.

use std::time::Duration;

use fastrand::Rng;
use landfall::{
    canary::{Selector, Timestamp},
    sandbox::{
        Fault, FaultKind, World,
        scenario::{AgentEvent, Does},
    },
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// API errors all the time, and each day an API that is slow for some hours, a target that is slow
/// for one, and a restart of the agent.
pub(crate) fn of_days(world: &World, start: Timestamp, days: u32, dice: &mut Rng) -> (Vec<Fault>, Vec<AgentEvent>) {
    let always = |kind| Fault { kind, selector: Selector::default(), rate: 1.0, from: start, until: None };
    let mut faults = vec![Fault { rate: 0.01, ..always(FaultKind::ApiError { status: 500 }) }];
    let mut agent = Vec::new();
    for day in 0..days {
        let midnight = start.plus(DAY * day);
        let mut within = |hours: u32| {
            let from = midnight.plus((DAY - MINUTE * 60 * hours).mul_f64(dice.f64()));
            (from, Some(from.plus(MINUTE * 60 * hours)))
        };
        let ((slow_from, slow_until), (target_from, target_until)) = (within(4), within(1));
        let (restart, _) = within(1);
        let platform = &world.platforms[dice.usize(0..world.platforms.len())].name;
        let target = &world.targets[dice.usize(0..world.targets.len())];
        let one = |name: &str, value: &str| Selector::new([(name.to_owned(), value.to_owned())]);
        let by = |least: u64, most: u64, dice: &mut Rng| Duration::from_secs(dice.u64(least..=most));
        faults.push(Fault {
            selector: one("platform", platform.as_str()),
            from: slow_from,
            until: slow_until,
            ..always(FaultKind::ApiSlow { by: by(1, 5, dice) })
        });
        faults.push(Fault {
            selector: one("target", target.as_str()),
            from: target_from,
            until: target_until,
            ..always(FaultKind::SlowTarget { by: by(2, 15, dice) })
        });
        agent.push(AgentEvent { at: restart, does: Does::Restart(by(5, 180, dice)) });
    }
    (faults, agent)
}
