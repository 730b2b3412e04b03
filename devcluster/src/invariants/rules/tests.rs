//! Each rule, kept and broken.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::story::{Story, labels, only, route, target};
use super::*;

#[test]
fn weights_sum_to_100() {
    let mut story = Story::settled();
    story.routes(&[("v1", 99), ("v2", 1)]);
    story.holds();
    story.owner(2);
    story.routes(&[("v1", 99)]);
    story.broke(&[Rule::Sum]);
    story.owner(3);
    story.routes(&[("v1", 101), ("v2", -1)]);
    story.broke(&[Rule::Sum]);
}

#[test]
fn a_promotion_raises_what_is_complete() {
    let mut story = Story::settled();
    story.routes(&[("v1", 50), ("v2", 50)]);
    story.holds();

    let mut story = Story::settled();
    story.deployment("v2", 2, 1);
    story.pass(1_000);
    story.routes(&[("v1", 50), ("v2", 50)]);
    story.broke(&[Rule::PromotedIncomplete]);
}

#[test]
fn a_version_has_back_what_its_ready_pods_carry() {
    let back = |weight: i64, to: &str| {
        let mut story = Story::settled();
        story.leads(1, "Progressing", to, "");
        story.routes(&[("v1", 50), ("v2", 50)]);
        story.deployment("v1", 4, 3);
        story.pass(1_000);
        story.routes(&[("v1", weight), ("v2", 100 - weight)]);
        story
    };
    back(75, "x").holds();
    back(76, "x").broke(&[Rule::PromotedIncomplete]);
    back(75, "").broke(&[Rule::PromotedIncomplete]);
}

#[test]
fn a_changed_deployment_is_not_complete_before_its_controller_says_so() {
    let mut story = Story::settled();
    story.deployment_at("v2", 1, 2, 2);
    story.routes(&[("v1", 50), ("v2", 50)]);
    story.broke(&[Rule::PromotedIncomplete]);
    story.deployment("v2", 2, 2);
    story.routes(&[("v2", 100)]);
    story.holds();
}

#[test]
fn a_pod_that_fails_while_a_promotion_is_written_is_no_breach() {
    let mut story = Story::settled();
    story.deployment("v2", 2, 1);
    story.routes(&[("v1", 50), ("v2", 50)]);
    story.holds();
}

#[test]
fn a_new_route_is_measured_by_what_its_requests_met_before() {
    let with_vip = || vec![route("http vip", &[("v2", 100)]), route("http default", &[("v1", 100)])];
    let mut story = Story::settled();
    story.all_routes(with_vip());
    story.holds();

    let mut story = Story::settled();
    story.deployment("v2", 2, 1);
    story.pass(1_000);
    story.all_routes(with_vip());
    story.broke(&[Rule::PromotedIncomplete]);
}

#[test]
fn a_failover_raises_what_is_ready() {
    let mut story = Story::settled();
    story.deployment("v2", 2, 1);
    story.pods("v2", 1, true);
    story.pass(1_000);
    story.pods("v1", 2, false);
    story.routes(&[("v2", 100)]);
    story.holds();
}

#[test]
fn a_failover_to_what_is_not_ready_is_a_breach() {
    let mut story = Story::settled();
    story.deployment("v2", 2, 0);
    story.pods("v2", 2, false);
    story.pass(1_000);
    story.pods("v1", 2, false);
    story.routes(&[("v2", 100)]);
    story.broke(&[Rule::RaisedSilent]);
}

#[test]
fn restarts_are_a_loss() {
    let mut story = Story::settled();
    story.routes(&[("v1", 90), ("v2", 10)]);
    story.deployment("v1", 2, 1);
    story.pass(1_000);
    let ended = Some(story.at);
    story.pod("v2", 0, true, ended);
    story.routes(&[("v1", 100)]);
    story.holds();

    let mut story = Story::settled();
    story.routes(&[("v1", 90), ("v2", 10)]);
    story.deployment("v1", 2, 1);
    story.pass(1_000);
    story.owner(2);
    story.routes(&[("v1", 100)]);
    story.broke(&[Rule::PromotedIncomplete]);
}

#[test]
fn a_loss_that_is_over_explains_nothing() {
    for (ago, rules) in [(400, vec![]), (1_000, vec![Rule::PromotedIncomplete])] {
        let mut story = Story::settled();
        story.deployment("v2", 2, 1);
        story.pods("v1", 2, false);
        story.pass(1_000);
        story.pods("v1", 2, true);
        story.pass(ago);
        story.routes(&[("v1", 50), ("v2", 50)]);
        story.broke(&rules);
    }
}

#[test]
fn a_loss_lasts_until_the_service_knows_its_pods_as_well() {
    for (ago, rules) in [(400, vec![]), (1_000, vec![Rule::PromotedIncomplete])] {
        let mut story = Story::settled();
        story.deployment("v2", 2, 1);
        story.pods("v1", 2, false);
        story.pod("v1", 0, true, None);
        story.pass(1_000);
        story.pods("v1", 2, true);
        story.pass(ago);
        story.routes(&[("v1", 50), ("v2", 50)]);
        story.broke(&rules);
    }
}

#[test]
fn what_lost_its_weight_is_held_out() {
    for (waits, rules) in [(10_000, vec![Rule::RaisedHeldOut]), (30_000, vec![])] {
        let mut story = Story::settled();
        story.routes(&[("v1", 90), ("v2", 10)]);
        story.pods("v2", 2, false);
        story.routes(&[("v1", 100)]);
        story.pods("v2", 2, true);
        story.pass(waits);
        story.routes(&[("v1", 90), ("v2", 10)]);
        story.broke(&rules);
    }
    // Unless there is nothing else.
    let mut story = Story::settled();
    story.pods("v1", 2, false);
    story.routes(&[("v2", 100)]);
    story.pods("v1", 2, true);
    story.pods("v2", 2, false);
    story.routes(&[("v1", 100)]);
    story.holds();
}

#[test]
fn weight_does_not_stay_where_nobody_answers() {
    let mut story = Story::settled();
    story.pods("v1", 2, false);
    story.pass(4_000);
    story.routes(&[("v2", 100)]);
    story.pass(60_000);
    story.owner(1);
    story.holds();

    let mut story = Story::settled();
    story.pods("v1", 2, false);
    story.pass(6_000);
    story.owner(1);
    story.broke(&[Rule::LeftSilent]);
    let later = story.at + SignedDuration::from_secs(60);
    assert_eq!(story.checker.finish(later), [], "it is told once");

    let mut story = Story::settled();
    story.pods("v2", 2, false);
    story.pods("v1", 2, false);
    story.pass(60_000);
    assert_eq!(story.checker.finish(story.at), [], "nobody else answers");
}

#[test]
fn weight_comes_after_the_subset_has_travelled() {
    for (age, rules) in [(4_000, vec![Rule::SubsetTooYoung]), (4_900, vec![])] {
        let mut story = Story::settled();
        story.deployment("v3", 1, 1);
        story.pods("v3", 1, true);
        story.subsets(&["v1", "v2", "v3"]);
        story.pass(age);
        story.routes(&[("v1", 90), ("v3", 10)]);
        story.broke(&rules);
    }
    let mut story = Story::settled();
    story.routes(&[("v1", 90), ("v9", 10)]);
    assert!(story.found.contains(&Rule::SubsetMissing));
}

#[test]
fn a_mesh_is_entered_as_late_as_any_subset() {
    for (age, rules) in [(1_000, vec![Rule::SubsetTooYoung]), (5_000, vec![])] {
        let mut story = Story::empty();
        story.owner(1);
        story.selector(only("app", "a"));
        story.deployment("v1", 2, 2);
        story.pods("v1", 2, true);
        story.pass(60_000);
        story.subsets(&["v1"]);
        story.pass(age);
        story.routes(&[("v1", 100)]);
        story.broke(&rules);
    }
}

#[test]
fn subsets_are_never_repointed() {
    let mut story = Story::settled();
    let stable = |hash: &str| BTreeMap::from([("stable".to_owned(), only("pod-template-hash", hash))]);
    story.labelled_subsets(stable("1"));
    story.found.clear();
    story.labelled_subsets(stable("1"));
    story.holds();
    story.labelled_subsets(stable("2"));
    story.broke(&[Rule::SubsetRepointed]);
}

#[test]
fn a_subset_outlives_the_last_route_to_it() {
    for (waits, rules) in [(1_000, vec![Rule::SubsetRemovedEarly]), (4_900, vec![])] {
        let mut story = Story::settled();
        story.routes(&[("v2", 100)]);
        story.pass(waits);
        story.subsets(&["v2"]);
        story.broke(&rules);
    }
    let mut story = Story::settled();
    story.gone(Kind::DestinationRule, "a");
    story.broke(&[Rule::SubsetRemovedEarly]);
}

#[test]
fn a_mirror_is_a_reference() {
    let mut story = Story::settled();
    story.all_routes(vec![Route { mirrors: vec![target("v2")], ..route("http default", &[("v1", 100)]) }]);
    story.pass(60_000);
    story.subsets(&["v1"]);
    story.broke(&[Rule::SubsetRemovedEarly]);
}

#[test]
fn a_workload_outlives_its_weight() {
    for (waits, rules) in [(1_000, vec![Rule::WorkloadRemovedEarly]), (4_900, vec![])] {
        let mut story = Story::settled();
        story.routes(&[("v2", 100)]);
        story.pass(waits);
        story.gone(Kind::Deployment, "a-v1");
        story.broke(&rules);
    }
    let mut story = Story::settled();
    story.deployment("v1", 0, 0);
    story.broke(&[Rule::WorkloadRemovedEarly]);
    let mut story = Story::settled();
    story.gone(Kind::Deployment, "a-v2");
    story.holds();
}

#[test]
fn a_service_selects_what_has_weight() {
    let mut story = Story::settled();
    story.selector(labels("v1"));
    story.holds();
    story.selector(labels("v2"));
    story.broke(&[Rule::SelectorLeft]);

    let mut story = Story::settled();
    story.routes(&[("v2", 100)]);
    story.pass(1_000);
    story.selector(labels("v2"));
    story.broke(&[Rule::SelectorLeft]);
    story.gone(Kind::Service, "a");
    story.broke(&[Rule::SelectorLeft]);

    // What goes as a whole may arrive at one and the same time.
    for (apart, service_goes, expected) in
        [(0, true, &[][..]), (100, true, &[]), (0, false, &[Rule::SubsetRemovedEarly])]
    {
        let mut story = Story::settled();
        story.gone(Kind::VirtualService, "a");
        story.pass(apart);
        if service_goes {
            story.gone(Kind::Service, "a");
        }
        story.gone(Kind::DestinationRule, "a");
        story.broke(expected);
    }
}

#[test]
fn a_whole_may_vanish_in_any_order() {
    let mut story = Story::settled();
    story.gone(Kind::Owner, "a");
    story.gone(Kind::Deployment, "a-v1");
    story.gone(Kind::DestinationRule, "a");
    story.gone(Kind::Service, "a");
    story.gone(Kind::VirtualService, "a");
    story.holds();

    let mut story = Story::settled();
    story.gone(Kind::VirtualService, "a");
    story.gone(Kind::DestinationRule, "a");
    story.broke(&[Rule::SubsetRemovedEarly]);

    let mut story = Story::settled();
    story.checker.settings.owned = false;
    story.gone(Kind::VirtualService, "a");
    story.gone(Kind::DestinationRule, "a");
    story.holds();
}

#[test]
fn weights_may_turn_round_when_somebody_asks_for_it() {
    for asked in [true, false] {
        let mut story = Story::settled();
        story.owner(2);
        story.pass(1_000);
        story.routes(&[("v1", 50), ("v2", 50)]);
        story.pass(1_000);
        if asked {
            story.set("abort-1", None, 1, Fields::Order);
        }
        story.routes(&[("v1", 100), ("v2", 0)]);
        story.finish(6_000);
        let expected: &[Rule] = if asked { &[] } else { &[Rule::Oscillated; 2] };
        story.broke(expected);
    }
}

#[test]
fn weights_may_be_of_the_rollout_before_until_the_status_knows_of_the_edit() {
    for (behind, still, expected) in [(true, true, &[][..]), (true, false, &[]), (false, false, &[Rule::Oscillated; 2])]
    {
        let mut story = Story::settled();
        story.behind = behind;
        story.owner(2);
        story.pass(1_000);
        story.routes(&[("v1", 50), ("v2", 50)]);
        story.behind = still;
        story.status(2, "Progressing", "50");
        story.pass(1_000);
        story.routes(&[("v1", 100), ("v2", 0)]);
        story.finish(6_000);
        story.broke(expected);
    }
}

#[test]
fn weights_move_one_way_in_a_rollout() {
    let mut story = Story::settled();
    story.owner(2);
    for weight in [50, 20, 80] {
        story.pass(1_000);
        story.routes(&[("v1", 100 - weight), ("v2", weight)]);
    }
    story.finish(6_000);
    story.broke(&[Rule::Oscillated; 4]);

    let mut story = Story::settled();
    story.owner(2);
    for weight in [20, 50, 80] {
        story.pass(1_000);
        story.routes(&[("v1", 100 - weight), ("v2", weight)]);
    }
    story.owner(3);
    story.pass(1_000);
    story.routes(&[("v1", 90), ("v2", 10)]);
    story.holds();
}

/// A rollout whose weights have just turned round.
fn turned() -> Story {
    let mut story = Story::settled();
    story.owner(2);
    story.pass(1_000);
    story.routes(&[("v1", 50), ("v2", 50)]);
    story.status(2, "Progressing", "50");
    story.pass(1_000);
    story.routes(&[("v1", 100), ("v2", 0)]);
    story.holds();
    story
}

#[test]
fn the_status_that_follows_tells_why_weights_turned_round() {
    let mut story = turned();
    story.status(2, "Aborted", "0");
    story.finish(6_000);
    story.holds();

    let mut story = turned();
    story.status(2, "Progressing", "50");
    story.holds();
    story.status(2, "Paused", "0");
    story.broke(&[Rule::Oscillated; 2]);

    let mut story = turned();
    story.owner(3);
    story.status(3, "Progressing", "0");
    story.finish(6_000);
    story.holds();

    let mut story = turned();
    story.finish(4_000);
    story.holds();
    let mut story = turned();
    story.finish(6_000);
    story.broke(&[Rule::Oscillated; 2]);
}

#[test]
fn a_rollout_that_is_superseded_goes_back_before_the_next_one_begins() {
    for (to, expected) in [("b", &[][..]), ("a", &[Rule::Oscillated; 2])] {
        let mut story = Story::settled();
        story.owner(2);
        story.pass(1_000);
        story.routes(&[("v1", 50), ("v2", 50)]);
        story.leads(2, "Progressing", "a", "50");
        story.leads(3, "Progressing", "a", "50");
        story.pass(1_000);
        story.routes(&[("v1", 100), ("v2", 0)]);
        story.leads(3, "Progressing", to, "0");
        story.pass(1_000);
        story.routes(&[("v1", 80), ("v2", 20)]);
        story.leads(3, "Progressing", to, "20");
        story.broke(expected);
    }
}

/// Somebody wants requests to fail rather than to go elsewhere.
#[test]
fn a_route_that_holds_may_lead_to_what_is_not_complete() {
    for (held, expected) in [(true, &[][..]), (false, &[Rule::PromotedIncomplete])] {
        let mut story = Story::settled();
        story.held = if held { ["premium".to_owned()].into() } else { BTreeSet::new() };
        story.owner(2);
        story.deployment("v2", 2, 1);
        story.pass(6_000);
        story.all_routes(vec![route("http premium", &[("v2", 100)]), route("http default", &[("v1", 100)])]);
        story.broke(expected);
    }
}

/// What it gives back waits for pods, and it may be the first step of the next one by then.
#[test]
fn a_rollout_that_is_superseded_goes_back_once_after_its_status_told_so() {
    for (begin, weight, expected) in [(100, 100, &[][..]), (100, 90, &[]), (60, 90, &[Rule::Oscillated; 2])] {
        let mut story = Story::settled();
        story.begins = [("v1".to_owned(), begin), ("v2".to_owned(), 100 - begin)].into();
        story.owner(2);
        story.pass(1_000);
        story.routes(&[("v1", 50), ("v2", 50)]);
        story.leads(2, "Progressing", "a", "50");
        story.leads(3, "Progressing", "a", "50");
        story.leads(3, "Progressing", "b", "0");
        story.pass(2_000);
        story.routes(&[("v1", weight), ("v2", 100 - weight)]);
        story.pass(1_000);
        story.routes(&[("v1", 80), ("v2", 20)]);
        story.finish(6_000);
        story.broke(expected);
    }
}

#[test]
fn a_rollout_that_is_given_up_turns_the_weights_round_once() {
    for early in [true, false] {
        let mut story = Story::settled();
        story.owner(2);
        story.pass(1_000);
        story.routes(&[("v1", 50), ("v2", 50)]);
        story.pass(1_000);
        let aborted = |story: &mut Story| story.status(2, "Aborted", "");
        if early {
            aborted(&mut story);
        }
        story.routes(&[("v1", 75), ("v2", 25)]);
        if !early {
            aborted(&mut story);
        }
        story.routes(&[("v1", 100), ("v2", 0)]);
        story.status(2, "Aborted", "0");
        story.holds();
        story.pass(1_000);
        story.routes(&[("v1", 50), ("v2", 50)]);
        story.status(2, "Aborted", "50");
        story.broke(&[Rule::Oscillated; 2]);
    }
}

#[test]
fn the_way_back_after_a_loss_is_no_oscillation() {
    let mut story = Story::settled();
    story.owner(2);
    story.routes(&[("v1", 50), ("v2", 50)]);
    story.pass(1_000);
    story.pods("v2", 2, false);
    story.routes(&[("v1", 100)]);
    story.pods("v2", 2, true);
    story.pass(31_000);
    story.routes(&[("v1", 50), ("v2", 50)]);
    story.holds();
    story.pass(1_000);
    story.routes(&[("v1", 60), ("v2", 40)]);
    story.pass(1_000);
    story.routes(&[("v1", 50), ("v2", 50)]);
    story.finish(6_000);
    story.broke(&[Rule::Oscillated; 2]);
}

#[test]
fn what_is_yet_to_start_has_lost_nothing() {
    for (answers_before, expected) in [(false, &[][..]), (true, &[Rule::RaisedHeldOut])] {
        let mut story = Story::empty();
        story.owner(1);
        story.versions(&["v1", "v2"]);
        story.pods("v1", 2, answers_before);
        story.selector(only("app", "a"));
        story.pods("v1", 2, false);
        story.routes(&[("v1", 100)]);
        story.pass(6_000);
        story.routes(&[("v2", 100)]);
        story.pods("v1", 2, true);
        story.pass(1_000);
        story.routes(&[("v1", 90), ("v2", 10)]);
        story.finish(6_000);
        story.broke(expected);
    }
}

#[test]
fn revisions_out_of_order_are_told() {
    let mut story = Story::settled();
    story.version = 1;
    story.owner(1);
    story.broke(&[Rule::Incomplete]);
}
