//! The line from one set of weights to another. Pure.

use std::collections::BTreeSet;

use crate::observe::Weights;

use super::{settle::share, weight_of};

/// The weights after `percent` of the way, rounded by largest remainder; they sum to what both ends sum to.
pub fn point(from: &Weights, to: &Weights, percent: i32) -> Weights {
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let parts: Vec<i32> =
        names.iter().map(|name| weight_of(from, name) * (100 - percent) + weight_of(to, name) * percent).collect();
    let total = parts.iter().sum::<i32>() / 100;
    names.into_iter().cloned().zip(share(total, &parts)).filter(|(_, weight)| *weight > 0).collect()
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
            }
        }
    }
}
