//! The arithmetic of weights: one step from the effective ones towards the requested ones.

/// One version's part in a set of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Percent that is asked for; sums to 100 over all candidates.
    pub requested: i32,
    /// Percent that it carries now; sums to 100, or is 0 for all when there is nothing yet.
    pub current: i32,
    /// It may be raised to what is requested: complete, not held out, known to the mesh.
    pub admitted: bool,
    /// Percent that it may have back without being admitted: it had as much before, and its ready pods carry it.
    pub carries: i32,
    /// It answers requests: it has a ready pod and is not lost.
    pub serving: bool,
    /// It may take what a lost version cannot carry.
    pub rescuer: bool,
    /// It lost its weight a short while ago: a rescuer only when there is no other.
    pub held: bool,
    /// All its pods are available; preferred as a rescuer.
    pub complete: bool,
}

/// The next weights, in the order of the candidates; they sum to 100. None when no candidate can serve.
///
/// Promotion raises only admitted versions, and going back those of before as far as they carry it. What a version cannot
/// take yet stays with those that carry it; what a lost version carried goes to the rescuers.
pub fn settle(candidates: &[Candidate]) -> Option<Vec<i32>> {
    if !candidates.iter().any(|candidate| candidate.serving) {
        return None;
    }
    let mut next: Vec<i32> = candidates.iter().map(floor).collect();
    let room: Vec<i32> = candidates
        .iter()
        .zip(&next)
        .map(|(candidate, kept)| if candidate.serving { (candidate.current - kept).max(0) } else { 0 })
        .collect();
    let missing = 100 - next.iter().sum::<i32>();
    let returned = missing.clamp(0, room.iter().sum());
    add(&mut next, &share(returned, &room));
    let orphaned = 100 - next.iter().sum::<i32>();
    if orphaned <= 0 {
        return Some(next);
    }
    let shares = rescue_shares(candidates, &next)?;
    add(&mut next, &share(orphaned, &shares));
    Some(next)
}

/// What a version gets before anything is given back or rescued.
fn floor(candidate: &Candidate) -> i32 {
    match candidate {
        Candidate { serving: false, .. } => 0,
        Candidate { requested, current, admitted: false, carries, .. } => *requested.min(current.max(carries)),
        Candidate { requested, .. } => *requested,
    }
}

/// In which proportion rescuers take over: as they stand, else as requested, else evenly.
fn rescue_shares(candidates: &[Candidate], next: &[i32]) -> Option<Vec<i32>> {
    let choices: [fn(&Candidate) -> bool; 4] =
        [|c| c.rescuer && !c.held && c.complete, |c| c.rescuer && !c.held, |c| c.rescuer && c.complete, |c| c.rescuer];
    let chosen = choices.into_iter().find(|choice| candidates.iter().any(choice))?;
    let shares_by = |share: &dyn Fn(usize, &Candidate) -> i32| -> Vec<i32> {
        candidates.iter().enumerate().map(|(index, c)| if chosen(c) { share(index, c) } else { 0 }).collect()
    };
    [
        shares_by(&|index, _| next.get(index).copied().unwrap_or_default()),
        shares_by(&|_, candidate| candidate.requested),
        shares_by(&|_, _| 1),
    ]
    .into_iter()
    .find(|shares| shares.iter().sum::<i32>() > 0)
}

fn add(weights: &mut [i32], more: &[i32]) {
    for (weight, more) in weights.iter_mut().zip(more) {
        *weight += more;
    }
}

/// Divides `total` in the proportion of `shares` into whole numbers, by largest remainder; ties go to the first.
pub fn share(total: i32, shares: &[i32]) -> Vec<i32> {
    let sum: i64 = shares.iter().map(|share| i64::from(*share)).sum();
    if sum == 0 || total == 0 {
        return vec![0; shares.len()];
    }
    let exact: Vec<(i64, i64)> =
        shares.iter().map(|share| i64::from(*share) * i64::from(total)).map(|part| (part / sum, part % sum)).collect();
    let mut parts: Vec<i64> = exact.iter().map(|(whole, _)| *whole).collect();
    let mut left = i64::from(total) - parts.iter().sum::<i64>();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(exact.get(*index).map_or(0, |(_, remainder)| *remainder)));
    for index in order {
        if left == 0 {
            break;
        }
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
            left -= 1;
        }
    }
    parts.into_iter().map(|part| i32::try_from(part).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `requested/current` and letters: a(dmitted) s(erving) r(escuer) h(eld) c(omplete), b(ack to 60 at most).
    fn candidates(texts: &[&str]) -> Vec<Candidate> {
        texts
            .iter()
            .map(|text| {
                let (weights, flags) = text.split_once(' ').unwrap();
                let (requested, current) = weights.split_once('/').unwrap();
                let is = |flag| flags.contains(flag);
                Candidate {
                    requested: requested.parse().unwrap(),
                    current: current.parse().unwrap(),
                    admitted: is('a'),
                    carries: if is('b') { 60 } else { 0 },
                    serving: is('s'),
                    rescuer: is('r'),
                    held: is('h'),
                    complete: is('c'),
                }
            })
            .collect()
    }

    #[test]
    fn weights_follow_readiness() {
        for (name, given, expected) in [
            ("promotion of a complete version", vec!["0/90 asrc", "100/10 asrc"], Some(vec![0, 100])),
            ("an incomplete version keeps what it has", vec!["0/90 asrc", "100/10 sr"], Some(vec![90, 10])),
            ("a version without pods gets nothing", vec!["50/100 asrc", "50/0 -"], Some(vec![100, 0])),
            (
                "of two new versions only the complete one is raised",
                vec!["50/100 asrc", "30/0 asrc", "20/0 sr"],
                Some(vec![70, 30, 0]),
            ),
            ("a lost version's weight goes to the ready one", vec!["90/90 -", "10/10 asrc"], Some(vec![0, 100])),
            ("failover raises an incomplete version too", vec!["90/90 -", "10/10 sr"], Some(vec![0, 100])),
            (
                "a rescuer that is complete is preferred",
                vec!["80/80 -", "10/10 sr", "10/10 asrc"],
                Some(vec![0, 10, 90]),
            ),
            ("recovery", vec!["90/0 asrc", "10/100 asrc"], Some(vec![90, 10])),
            ("held out", vec!["90/0 srhc", "10/100 asrc"], Some(vec![0, 100])),
            ("held out, but nothing else is ready", vec!["90/0 srhc", "10/100 -"], Some(vec![100, 0])),
            ("none is ready anywhere", vec!["90/90 -", "10/10 -"], None),
            ("a removed version hands over", vec!["100/0 asrc", "0/100 asrc"], Some(vec![100, 0])),
            (
                "a removed version keeps its weight until the other is ready",
                vec!["100/0 sr", "0/100 asrc"],
                Some(vec![0, 100]),
            ),
            ("the subset is too young to rescue", vec!["50/100 -", "50/0 s"], None),
            ("going back as far as its pods carry it", vec!["100/50 bsr", "0/50 asrc"], Some(vec![60, 40])),
            ("going back takes nothing from it", vec!["100/80 bsr", "0/20 asrc"], Some(vec![80, 20])),
            ("loss in mid-promotion", vec!["50/60 asrc", "50/40 -"], Some(vec![100, 0])),
        ] {
            let next = settle(&candidates(&given));
            assert_eq!(next, expected, "{name}");
            assert!(next.is_none_or(|next| next.iter().sum::<i32>() == 100), "{name}");
        }
    }

    #[test]
    fn any_mixture_sums_to_a_hundred() {
        let flags = ["-", "s", "sr", "asrc", "srh", "srhc"];
        let weights = [(100, 0, 0), (34, 33, 33), (0, 7, 93), (1, 98, 1)];
        let mut seen = 0;
        for a in flags {
            for b in flags {
                for c in flags {
                    for requested in weights {
                        for current in weights {
                            let given = [
                                format!("{}/{} {a}", requested.0, current.0),
                                format!("{}/{} {b}", requested.1, current.1),
                                format!("{}/{} {c}", requested.2, current.2),
                            ];
                            let given: Vec<&str> = given.iter().map(String::as_str).collect();
                            if let Some(next) = settle(&candidates(&given)) {
                                assert_eq!(next.iter().sum::<i32>(), 100, "{given:?} gave {next:?}");
                                assert!(
                                    next.iter().all(|weight| (0..=100).contains(weight)),
                                    "{given:?} gave {next:?}"
                                );
                                for (candidate, weight) in candidates(&given).iter().zip(&next) {
                                    assert!(candidate.serving || *weight == 0, "{given:?} gave {next:?}");
                                }
                                seen += 1;
                            }
                        }
                    }
                }
            }
        }
        assert!(seen > 2_000, "{seen}");
    }

    #[test]
    fn shares_are_whole() {
        assert_eq!(share(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(share(10, &[0, 0]), [0, 0]);
        assert_eq!(share(7, &[90, 10]), [6, 1]);
    }
}
