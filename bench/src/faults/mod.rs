//! What faults do to each controller: the same story behind the same fault proxy, judged by the same checker.
//!
//! A service is created in a namespace of its own without any fault. Then its canary gets 20 %, 50 % and all, and the
//! controller is killed at a write of each of these chapters that comes to it, or requests and watches go wrong. In the end
//! there has to be what there is after a story without faults.

mod end;
mod table;
mod trial;

use std::{collections::BTreeMap, path::PathBuf};

use devcluster::{
    Cluster,
    faults::{Fault, Faults, Moment},
};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{controllers::Controller, error::Error, ground, record::Ground, report};

use trial::{Seen, Trial};

/// What disturbs a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Nothing.
    Clean,
    /// The controller is killed at a write of each chapter that comes to it, before it is forwarded or before its answer
    /// arrives.
    Killed,
    /// 10 to 50 % of the requests are answered by errors or cut off, lists are old, and watches are late, deaf or cut off.
    Errors,
    /// The same, and some requests are never answered.
    Silence,
}

/// What disturbs one story.
#[derive(Clone, Copy, Debug)]
pub enum Disturbance {
    None,
    /// The number of the write, from 1.
    Kill(usize, Moment),
    /// The seed, and whether answers may never come.
    Faults(u64, bool),
}

impl Disturbance {
    pub fn kind(self) -> Kind {
        match self {
            Self::None => Kind::Clean,
            Self::Kill(..) => Kind::Killed,
            Self::Faults(_, false) => Kind::Errors,
            Self::Faults(_, true) => Kind::Silence,
        }
    }

    /// What goes wrong while the story lasts.
    pub fn faults(self) -> Faults {
        let Self::Faults(seed, silence) = self else { return Faults::default() };
        let mut faults = Faults::mixed(seed);
        faults.answers.retain(|fault| silence || *fault != Fault::Silence);
        faults
    }
}

impl std::fmt::Display for Disturbance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("no fault"),
            Self::Kill(nth, moment) => write!(f, "killed {moment:?} write {nth}"),
            Self::Faults(seed, silence) => {
                write!(f, "faults by seed {seed}{}", if *silence { ", silence" } else { "" })
            }
        }
    }
}

/// What came of the stories of a controller that were disturbed in one way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    pub stories: usize,
    /// In which the controller was killed.
    #[serde(default)]
    pub killed: usize,
    /// How often it was killed in all of them.
    #[serde(default)]
    pub kills: usize,
    /// Ended as the one without faults.
    pub clean: usize,
    /// Never came to their end.
    pub stuck: usize,
    /// Came to it with other objects.
    pub other: usize,
    /// Made objects more often, or deleted them.
    pub again: usize,
    /// In which a rule was broken that was not in the story without faults, by rule.
    pub broken: BTreeMap<String, usize>,
    /// In which the controller ended by itself.
    pub ended: usize,
}

/// All results, by controller and kind.
pub type Results = BTreeMap<Controller, BTreeMap<Kind, Tally>>;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    pub controllers: Vec<Controller>,
    /// Seeds of faults.
    pub seeds: u64,
    /// The last write of each chapter that the controller is killed at; None for all.
    pub kills: Option<usize>,
    /// Stories at a time.
    pub abreast: usize,
    pub out: PathBuf,
}

/// Runs all stories, prints what went wrong, and writes the table.
pub async fn run(plan: &Plan) -> Result<(), Error> {
    let cluster = ground::start(Ground::Whole, &plan.controllers, false).await?;
    let mut results = Results::new();
    for &controller in &plan.controllers {
        println!("\n{}", controller.title());
        results.insert(controller, of(&cluster, plan, controller).await?);
        report::save(&plan.out, &results)?;
    }
    println!("\n{}", table::table(&results));
    Ok(())
}

async fn of(cluster: &Cluster, plan: &Plan, controller: Controller) -> Result<BTreeMap<Kind, Tally>, Error> {
    let clean = Trial::new(cluster, controller, Disturbance::None, 0).run().await?;
    println!("  without faults: {clean}");
    if let Some(stage) = clean.stuck {
        return Err(Error::failed("come to an end without faults", format!("it is stuck before {stage:?}")));
    }
    let last = plan.kills.unwrap_or(usize::MAX).min(clean.writes);
    let kills = (1..=last).flat_map(|nth| [Moment::Before, Moment::After].map(|moment| Disturbance::Kill(nth, moment)));
    let faults = [false, true]
        .into_iter()
        .flat_map(|silence| (1..=plan.seeds).map(move |seed| Disturbance::Faults(seed, silence)));
    let all: Vec<Disturbance> = kills.chain(faults).collect();
    let trials = all.into_iter().enumerate().map(|(index, disturbance)| {
        let trial = Trial::new(cluster, controller, disturbance, index + 1);
        async move { (disturbance, trial.run().await) }
    });
    let mut running = std::pin::pin!(stream::iter(trials).buffer_unordered(plan.abreast));
    let broken = clean.broken.iter().map(|rule| (rule.clone(), 1)).collect();
    let mut tallies = BTreeMap::from([(Kind::Clean, Tally { stories: 1, clean: 1, broken, ..Tally::default() })]);
    while let Some((disturbance, seen)) = running.next().await {
        let (kind, seen) = (disturbance.kind(), seen?);
        let words = tallies.entry(kind).or_default().note(&seen, &clean);
        let kills = if kind == Kind::Killed { format!(" (kills: {})", seen.kills) } else { String::new() };
        println!("  {disturbance}{kills}: {words}");
    }
    Ok(tallies)
}

impl Tally {
    /// Counts a story; answers what became of it.
    fn note(&mut self, seen: &Seen, clean: &Seen) -> String {
        let mut wrong = Vec::new();
        let mut count = |field: &mut usize, wrong_is: bool, words: String| {
            if wrong_is {
                *field += 1;
                wrong.push(words);
            }
        };
        let before = seen.stuck.map(|stage| format!("stuck before {stage:?}"));
        count(&mut self.stuck, before.is_some(), before.unwrap_or_default());
        let differ = seen.stuck.is_none() && seen.objects != clean.objects;
        count(&mut self.other, differ, end::difference(&clean.objects, &seen.objects));
        let again = seen.stuck.is_none() && seen.counts != clean.counts;
        count(&mut self.again, again, format!("created and deleted {:?}, not {:?}", seen.counts, clean.counts));
        count(&mut self.ended, seen.ended, "it ended by itself".to_owned());
        for rule in seen.broken.difference(&clean.broken) {
            *self.broken.entry(rule.clone()).or_default() += 1;
            wrong.push(rule.clone());
        }
        self.stories += 1;
        self.killed += usize::from(seen.kills > 0);
        self.kills += seen.kills;
        if wrong.is_empty() {
            self.clean += 1;
            return "as without faults".to_owned();
        }
        wrong.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(objects: serde_json::Value, counts: (usize, usize), broken: &[&str]) -> Seen {
        Seen {
            objects: serde_json::from_value(objects).unwrap_or_default(),
            counts: BTreeMap::from([("services".to_owned(), counts)]),
            broken: broken.iter().map(|&rule| rule.to_owned()).collect(),
            ..Seen::default()
        }
    }

    #[test]
    fn a_story_is_judged_by_the_one_without_faults() {
        let clean = seen(json!({"Service/svc": {"a": 1}}), (1, 0), &["Oscillated"]);
        let mut tally = Tally::default();
        assert_eq!(tally.note(&clean, &clean), "as without faults");
        let other = seen(json!({"Service/svc": {"a": 2}, "Deployment/x": {}}), (2, 1), &["Oscillated", "Sum"]);
        let words = tally.note(&other, &clean);
        for told in ["Deployment/x is left over", "Service/svc is another", "{\"services\": (2, 1)}", "Sum"] {
            assert!(words.contains(told), "{words}");
        }
        let stuck = Seen { stuck: Some(crate::controllers::Stage::Step), ended: true, kills: 2, ..Seen::default() };
        assert_eq!(tally.note(&stuck, &clean), "stuck before Step; it ended by itself");
        let Tally { stories, killed, kills, clean, stuck, other, again, broken, ended } = tally;
        assert_eq!((stories, clean, stuck, other, again, ended), (3, 1, 1, 1, 1, 1));
        assert_eq!((killed, kills), (1, 2));
        assert_eq!(broken, BTreeMap::from([("Sum".to_owned(), 1)]));
    }

    #[test]
    fn results_without_kills_can_be_read() {
        let old = json!({"stories": 2, "clean": 2, "stuck": 0, "other": 0, "again": 0, "broken": {}, "ended": 0});
        let Tally { stories, killed, kills, .. } = serde_json::from_value(old).unwrap();
        assert_eq!((stories, killed, kills), (2, 0, 0));
    }
}
