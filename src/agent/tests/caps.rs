//! What canaries may cost a target, by the whole agent on virtual time.

use super::{
    S,
    scene::{Scene, Shows},
};
use crate::config::TargetCaps;

#[tokio::test(start_paused = true)]
async fn a_target_is_sent_no_more_rows_in_an_hour_than_its_cap() {
    let scene = Scene::new(&["t0"], |plan| {
        plan.targets[0].caps = TargetCaps { rows_per_hour: Some(100), ..TargetCaps::default() };
    });
    let scene = scene.start().await;
    tokio::time::sleep(S(3_500)).await;
    // Runs of twenty rows each.
    assert_eq!(scene.platform.submitted().len(), 5);
    tokio::time::sleep(S(3_600)).await;
    assert_eq!(scene.platform.submitted().len(), 10, "an hour later there is room again");
}

#[tokio::test(start_paused = true)]
async fn looks_at_a_capped_target_are_spaced_and_a_loss_is_judged_all_the_same() {
    let mut looks = Vec::new();
    for reads_per_hour in [None, Some(360)] {
        let scene = Scene::new(&["t0"], |plan| {
            plan.targets[0].caps = TargetCaps { reads_per_hour, ..TargetCaps::default() };
        });
        let scene = scene.start().await;
        scene.targets[0].now(Shows::Nothing);
        tokio::time::sleep(S(600)).await;
        let finals = scene.finals();
        assert!(!finals.is_empty() && finals.iter().all(|verdict| verdict.outcome.is_silent()), "{finals:?}");
        let mut at: Vec<_> = finals.iter().flat_map(|verdict| &verdict.evidence.looks).map(|l| l.started_at).collect();
        at.sort();
        at.dedup();
        looks.push(at);
    }
    let apart = |looks: &[crate::canary::Timestamp]| looks.windows(2).map(|two| two[1].since(two[0])).min();
    assert!(apart(&looks[0]) < Some(S(10)), "{:?}", looks[0]);
    assert!(apart(&looks[1]) >= Some(S(10)), "{:?}", looks[1]);
}
