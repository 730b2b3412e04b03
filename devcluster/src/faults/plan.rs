//! Which requests go wrong, and how: a pure function of a seed, so that a run can be repeated.

use std::time::Duration;

use super::asked::{Asked, Verb};
use crate::Dice;

/// What happens to a request in place of an answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// 409: the object is not the one that the write is about. Of writes only.
    Conflict,
    /// 429, to come back after a second.
    TooManyRequests,
    /// 500.
    InternalError,
    /// 503.
    Unavailable,
    /// The connection ends before the request is forwarded.
    Reset,
    /// The request is carried out, and the connection ends before the answer.
    AnswerLost,
    /// Nothing is forwarded, and there is never an answer.
    Silence,
    /// A list is answered as it was at some earlier time. Of lists of a whole kind only: what is asked for by its name is
    /// never read from a cache.
    Stale,
    /// 410, also of a list's first page, where an API server says it of later ones: what it goes on from is no longer known.
    /// Of lists only.
    Expired,
}

/// What happens to a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchFault {
    /// All events come late, in their order.
    Late,
    /// Each event comes twice.
    Twice,
    /// Events are missed, until the watch expires with 410 and the kind has to be listed again.
    Deaf,
    /// It ends after its first event.
    Reset,
}

/// What goes wrong, and how often.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// What the choice depends on, beside the request itself.
    pub seed: u64,
    /// Part of the requests that go wrong, but for watches, from 0 to 1.
    pub requests: f64,
    /// The ways in which they do.
    pub answers: Vec<Fault>,
    /// Part of the watches that go wrong, from 0 to 1.
    pub watches: f64,
    /// The ways in which they do.
    pub events: Vec<WatchFault>,
    /// Longest time that events are late, or missed.
    pub longest: Duration,
    /// The resources whose requests and watches they are, such as `deployments`; empty for all.
    pub of: Vec<String>,
}

impl Faults {
    /// Everything goes wrong in every way, at a rate of 10 to 50 % by the seed; events for 3 s at most.
    pub fn mixed(seed: u64) -> Self {
        let part = [0.1, 0.2, 0.3, 0.4, 0.5][number(seed) % 5];
        let (answers, events) = (Fault::ALL.to_vec(), WatchFault::ALL.to_vec());
        Self { seed, requests: part, answers, watches: part, events, longest: Duration::from_secs(3), of: Vec::new() }
    }

    /// One way alone goes wrong, which is another one in each five seeds, at a rate of 10 to 50 % by the seed; events for 3 s
    /// at most.
    pub fn alone(seed: u64) -> Self {
        let nth = number(seed) / 5 % (Fault::ALL.len() + WatchFault::ALL.len());
        let (answers, events) = match Fault::ALL.get(nth) {
            Some(answer) => (vec![*answer], Vec::new()),
            None => (Vec::new(), vec![WatchFault::ALL[nth - Fault::ALL.len()]]),
        };
        Self { answers, events, ..Self::mixed(seed) }
    }

    /// What happens to the request that is the `nth` of its kind. Whatever else goes on at the time has no influence.
    pub fn answer(&self, asked: &Asked, nth: u64) -> Option<Fault> {
        if !self.concern(asked) {
            return None;
        }
        let possible: Vec<Fault> = self.answers.iter().copied().filter(|fault| fault.fits(asked)).collect();
        pick(self.requests, &possible, &mut Dice::of((self.seed, asked, nth)))
    }

    /// What happens to the `nth` watch of a kind, and for how long.
    pub fn watch(&self, asked: &Asked, nth: u64) -> Option<(WatchFault, Duration)> {
        let mut dice = Dice::of((self.seed, asked, nth));
        let fault = pick(self.watches, &self.events, &mut dice).filter(|_| self.concern(asked))?;
        Some((fault, self.longest.mul_f64(dice.part())))
    }

    /// How likely it is that such a request goes wrong, from 0 to 1.
    pub fn chance(&self, asked: &Asked) -> f64 {
        match asked.verb {
            _ if !self.concern(asked) => 0.0,
            Verb::Watch if self.events.is_empty() => 0.0,
            Verb::Watch => self.watches,
            _ if self.answers.iter().any(|fault| fault.fits(asked)) => self.requests,
            _ => 0.0,
        }
    }

    fn concern(&self, asked: &Asked) -> bool {
        self.of.is_empty() || self.of.contains(&asked.resource)
    }
}

impl Fault {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Conflict,
        Self::TooManyRequests,
        Self::InternalError,
        Self::Unavailable,
        Self::Reset,
        Self::AnswerLost,
        Self::Silence,
        Self::Stale,
        Self::Expired,
    ];

    fn fits(self, asked: &Asked) -> bool {
        match self {
            Self::Conflict => asked.writes(),
            Self::Stale => asked.verb == Verb::List && asked.name.is_empty(),
            Self::Expired => asked.verb == Verb::List,
            _ => true,
        }
    }
}

impl WatchFault {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Late, Self::Twice, Self::Deaf, Self::Reset];
}

fn number(seed: u64) -> usize {
    usize::try_from(seed).unwrap_or_default()
}

fn pick<T: Copy>(part: f64, of: &[T], dice: &mut Dice) -> Option<T> {
    if of.is_empty() || dice.part() >= part {
        return None;
    }
    of.get(dice.below(of.len())).copied()
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn faults(seed: u64, requests: f64) -> Faults {
        Faults { seed, requests, answers: Fault::ALL.to_vec(), ..Faults::default() }
    }

    fn write() -> Asked {
        Asked::of(&Method::PATCH, &"/api/v1/namespaces/a/services/b".parse().unwrap())
    }

    #[test]
    fn a_seed_says_it_all() {
        let run = |seed| (0..200).map(|nth| faults(seed, 0.3).answer(&write(), nth)).collect::<Vec<_>>();
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn as_many_go_wrong_as_asked_for_in_every_fitting_way() {
        let run = |part| (0..2000).filter_map(|nth| faults(7, part).answer(&write(), nth)).collect::<Vec<_>>();
        assert!(run(0.0).is_empty());
        assert!((500..700).contains(&run(0.3).len()), "{}", run(0.3).len());
        let seen: std::collections::HashSet<Fault> = run(0.5).into_iter().collect();
        let fitting: std::collections::HashSet<Fault> =
            Fault::ALL.into_iter().filter(|it| ![Fault::Stale, Fault::Expired].contains(it)).collect();
        assert_eq!(seen, fitting);
    }

    #[test]
    fn each_way_goes_wrong_alone_at_each_rate() {
        let all = (0..65).map(Faults::alone).map(|it| format!("{} {:?} {:?}", it.requests, it.answers, it.events));
        assert_eq!(all.collect::<std::collections::HashSet<String>>().len(), 13 * 5);
        assert!((0..65).map(Faults::alone).all(|it| it.answers.len() + it.events.len() == 1));
    }

    #[test]
    fn what_is_listed_by_its_name_is_not_stale() {
        let stale = Faults { requests: 1.0, answers: vec![Fault::Stale], ..Faults::default() };
        let listed = |uri: &str| stale.answer(&Asked::of(&Method::GET, &uri.parse().unwrap()), 0);
        assert_eq!(listed("/api/v1/pods?limit=1"), Some(Fault::Stale));
        assert_eq!(listed("/api/v1/pods?fieldSelector=metadata.name%3Db"), None);
    }

    #[test]
    fn other_resources_than_those_that_are_named_stay_as_they_are() {
        let only = |of: &str| Faults { of: vec![of.into()], ..faults(7, 1.0) };
        assert!(only("services").answer(&write(), 0).is_some());
        assert_eq!(only("pods").answer(&write(), 0), None);
        let watching = |of: &str| Faults { watches: 1.0, events: WatchFault::ALL.to_vec(), ..only(of) };
        let watch = Asked::of(&Method::GET, &"/api/v1/pods?watch=true".parse().unwrap());
        assert!(watching("pods").watch(&watch, 0).is_some());
        assert_eq!(watching("services").watch(&watch, 0), None);
    }

    #[test]
    fn a_read_meets_no_conflict() {
        let read = Asked::of(&Method::GET, &"/api/v1/namespaces/a/services/b".parse().unwrap());
        let met: Vec<Fault> = (0..500).filter_map(|nth| faults(3, 1.0).answer(&read, nth)).collect();
        assert_eq!(met.len(), 500);
        assert!(!met.contains(&Fault::Conflict) && !met.contains(&Fault::Stale), "{met:?}");
        assert!(!met.contains(&Fault::Expired), "{met:?}");
    }
}
