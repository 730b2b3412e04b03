//! The line from one set of weights to another. Pure.

use std::collections::BTreeSet;

use crate::observe::Weights;

use super::{settle::share, weight_of};

/// The weights after `percent` of the way, rounded by largest remainder; they sum to what both ends sum to. Once on the way,
/// whoever gets more at its end has 1 more at least, if those that get less have it to give: a step that gives it nothing
/// would try nothing.
pub fn point(from: &Weights, to: &Weights, percent: i32) -> Weights {
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let parts: Vec<i32> =
        names.iter().map(|name| weight_of(from, name) * (100 - percent) + weight_of(to, name) * percent).collect();
    let total = parts.iter().sum::<i32>() / 100;
    let mut point: Weights = names.into_iter().cloned().zip(share(total, &parts)).collect();
    if percent > 0 {
        let rises = |name: &String| weight_of(to, name) > weight_of(from, name);
        let still: Vec<String> = point
            .iter()
            .filter(|(name, at)| rises(name) && **at == weight_of(from, name))
            .map(|it| it.0.clone())
            .collect();
        still.into_iter().for_each(|name| lift(&mut point, &name, to));
    }
    point.retain(|_, weight| *weight > 0);
    point
}

/// Gives one percent to a version, of the one that has the most left to give.
fn lift(point: &mut Weights, name: &str, to: &Weights) {
    let left = |(giver, at): (&String, &i32)| (*at - weight_of(to, giver), giver.clone());
    let Some((1.., giver)) = point.iter().map(left).max() else { return };
    for (version, by) in [(giver.as_str(), -1), (name, 1)] {
        *point.entry(version.to_owned()).or_default() += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(text: &str) -> Weights {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, weight)| (name.to_owned(), weight.parse().unwrap())).collect()
    }

    #[test]
    fn a_point_is_that_far_on_the_way() {
        for (from, to, percent, expected) in [
            ("v1=100", "v2=100", 0, "v1=100"),
            ("v1=100", "v2=100", 5, "v1=95 v2=5"),
            ("v1=100", "v2=100", 100, "v2=100"),
            ("v1=90 v2=10", "v1=50 v2=50", 50, "v1=70 v2=30"),
            ("v1=50 v2=50", "v3=100", 25, "v1=38 v2=37 v3=25"),
            ("v1=34 v2=33 v3=33", "v4=100", 10, "v1=30 v2=30 v3=30 v4=10"),
            ("v1=100", "v1=90 v2=10", 0, "v1=100"),
            ("v1=100", "v1=90 v2=10", 5, "v1=99 v2=1"),
            ("v1=100", "v1=90 v2=9 v3=1", 5, "v1=98 v2=1 v3=1"),
            ("v1=99 v2=1", "v1=98 v2=1 v3=1", 1, "v1=98 v2=1 v3=1"),
        ] {
            assert_eq!(point(&weights(from), &weights(to), percent), weights(expected), "{from} to {to} at {percent}");
        }
    }

    #[test]
    fn every_point_sums_to_100_and_none_goes_past_its_end() {
        let (from, to) = (weights("v1=61 v2=20 v3=19"), weights("v2=33 v3=33 v4=34"));
        for percent in 0..=100 {
            let point = point(&from, &to, percent);
            assert_eq!(point.values().sum::<i32>(), 100, "{percent}");
            for name in ["v1", "v2", "v3", "v4"] {
                let ends = [weight_of(&from, name), weight_of(&to, name)];
                let here = weight_of(&point, name);
                assert!((ends[0].min(ends[1])..=ends[0].max(ends[1])).contains(&here), "{name} {here} at {percent}");
                let more = here > ends[0] || percent == 0 || ends[1] <= ends[0];
                assert!(more, "{name} stays at {here} at {percent}");
            }
        }
    }
}
