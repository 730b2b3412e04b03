//! The arithmetic of `kubectl ms weight`. Pure.

use crate::plan::rollout::settle::share;

/// Versions with their weights, in the order of the spec.
pub type Weights = Vec<(String, i32)>;

/// Reads `v2=25`.
///
/// # Errors
/// When it is no such thing.
pub fn parse(text: &str) -> Result<(String, i32), String> {
    let form = || format!("{text} is not VERSION=WEIGHT, such as v2=25");
    let (name, weight) = text.split_once('=').ok_or_else(form)?;
    let weight: i32 = weight.trim_end_matches('%').parse().map_err(|_| form())?;
    if name.is_empty() {
        return Err(form());
    }
    if !(0..=100).contains(&weight) {
        return Err(format!("a weight is 0 to 100, not {weight}"));
    }
    Ok((name.to_owned(), weight))
}

/// The weights with some of them set; what is not named shares the rest in its present proportion.
///
/// # Errors
/// When there is no such version, or it cannot sum to 100.
pub fn rebalanced(before: &[(String, i32)], set: &[(String, i32)]) -> Result<Weights, String> {
    for (index, (name, _)) in set.iter().enumerate() {
        if !before.iter().any(|(known, _)| known == name) {
            let known: Vec<&str> = before.iter().map(|(known, _)| known.as_str()).collect();
            return Err(format!("there is no version {name}; there are: {}", known.join(", ")));
        }
        if set.iter().take(index).any(|(earlier, _)| earlier == name) {
            return Err(format!("{name} is given twice"));
        }
    }
    let given = |name: &str| set.iter().find(|(set, _)| set == name).map(|(_, weight)| *weight);
    let sum: i32 = set.iter().map(|(_, weight)| weight).sum();
    let rest = 100 - sum;
    if rest < 0 {
        return Err(format!("the weights sum to {sum}: they may not exceed 100"));
    }
    let others: Weights = before.iter().filter(|(name, _)| given(name).is_none()).cloned().collect();
    let shares: Vec<i32> = match others.as_slice() {
        [] if rest > 0 => return Err(format!("the weights sum to {sum}: name them so that they sum to 100")),
        [_] => vec![1],
        others => others.iter().map(|(_, weight)| *weight).collect(),
    };
    if rest > 0 && shares.iter().sum::<i32>() == 0 {
        let names: Vec<&str> = others.iter().map(|(name, _)| name.as_str()).collect();
        return Err(format!("say who gets the other {rest}: {} have no weight to scale", names.join(", ")));
    }
    let mut scaled = share(rest, &shares).into_iter();
    let after =
        before.iter().map(|(name, _)| (name.clone(), given(name).or_else(|| scaled.next()).unwrap_or_default()));
    Ok(after.collect())
}

/// `v1=75 v2=25`.
pub fn shown(weights: &[(String, i32)]) -> String {
    weights.iter().map(|(name, weight)| format!("{name}={weight}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(text: &str) -> Weights {
        text.split_whitespace().map(|pair| parse(pair).unwrap()).collect()
    }

    #[test]
    fn what_is_not_named_is_scaled() {
        for (before, set, after) in [
            ("v1=100 v2=0", "v2=25", "v1=75 v2=25"),
            ("v1=90 v2=10", "v2=0", "v1=100 v2=0"),
            ("v1=100 v2=0", "v1=75", "v1=75 v2=25"),
            ("v1=100 v2=0", "v2=25 v1=75", "v1=75 v2=25"),
            ("v1=50 v2=50 v3=0", "v3=10", "v1=45 v2=45 v3=10"),
            ("v1=34 v2=33 v3=33", "v1=1", "v1=1 v2=50 v3=49"),
            ("v1=60 v2=30 v3=10", "v3=33%", "v1=45 v2=22 v3=33"),
            ("v1=60 v2=30 v3=10", "v3=100", "v1=0 v2=0 v3=100"),
            ("v1=100", "v1=100", "v1=100"),
        ] {
            let result = rebalanced(&weights(before), &weights(set)).unwrap();
            assert_eq!(shown(&result), after, "{before} with {set}");
            assert_eq!(result.iter().map(|(_, weight)| weight).sum::<i32>(), 100);
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (before, set, told) in [
            ("v1=100 v2=0", "v3=5", "there is no version v3; there are: v1, v2"),
            ("v1=100 v2=0", "v2=5 v2=6", "v2 is given twice"),
            ("v1=100 v2=0", "v1=60 v2=50", "the weights sum to 110: they may not exceed 100"),
            ("v1=100 v2=0", "v1=60 v2=30", "the weights sum to 90: name them so that they sum to 100"),
            ("v1=100", "v1=60", "the weights sum to 60: name them so that they sum to 100"),
            ("v1=100 v2=0 v3=0", "v1=60", "say who gets the other 40: v2, v3 have no weight to scale"),
        ] {
            assert_eq!(rebalanced(&weights(before), &weights(set)).unwrap_err(), told, "{before} with {set}");
        }
    }
}
