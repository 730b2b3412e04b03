//! Steps of a rollout in words. Pure.

use std::collections::BTreeMap;

use crate::{
    api::{MatchValue, RouteMatch},
    validate::{Size, Step},
};

/// Such as `weight 5` or `pause 1m`.
pub fn name(step: &Step) -> String {
    match step {
        Step::Weight(percent) => format!("weight {percent}"),
        Step::Pause(Some(length)) => format!("pause {length}"),
        Step::Pause(None) => "pause until promoted".to_owned(),
        Step::Analysis(analysis) => {
            let names: Vec<&str> = analysis.metrics.iter().map(|metric| metric.name.as_str()).collect();
            format!("analysis of {}", names.join(", "))
        }
        Step::Mirror(0) => "mirror none".to_owned(),
        Step::Mirror(percent) => format!("mirror {percent}"),
        Step::Scale(Size::Pods(1)) => "scale to 1 pod".to_owned(),
        Step::Scale(Size::Pods(pods)) => format!("scale to {pods} pods"),
        Step::Scale(Size::Percent(percent)) => format!("scale to {percent} %"),
        Step::Match(matches) => {
            let entries: Vec<String> = matches.iter().map(conditions).collect();
            format!("match {}", entries.join(" or "))
        }
    }
}

/// Such as `header user-type=beta and path /api/*`.
fn conditions(entry: &RouteMatch) -> String {
    let RouteMatch { headers, path, method, query, port } = entry;
    let named = |what: &'static str, values: &BTreeMap<String, MatchValue>| -> Vec<String> {
        values.iter().map(|(name, wanted)| format!("{what} {name}={}", value(wanted))).collect()
    };
    let mut parts = named("header", headers);
    parts.extend(path.as_ref().map(|path| format!("path {}", value(path))));
    parts.extend(method.as_ref().map(|method| format!("method {}", value(method))));
    parts.extend(named("query", query));
    parts.extend(port.map(|port| format!("port {port}")));
    parts.join(" and ")
}

fn value(wanted: &MatchValue) -> String {
    let MatchValue { exact, prefix, regex } = wanted;
    let prefix = prefix.as_ref().map(|text| format!("{text}*"));
    let regex = regex.as_ref().map(|text| format!("/{text}/"));
    exact.clone().or(prefix).or(regex).unwrap_or_default()
}
