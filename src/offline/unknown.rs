//! Fields that the CRD does not know: what strict field validation refuses, and what is left without them.

use serde_json::Value;

use crate::{api::RESERVED, validate::Problem};

/// Fields of Argo Rollouts and Flagger, and what says the same here: a field beside it, or words.
const ELSEWHERE: &[(&str, &str)] = &[
    ("abortScaleDownDelaySeconds", "scaleDownDelay"),
    ("initialDelay", "delay"),
    ("progressDeadlineSeconds", "progressDeadline"),
    ("scaleDownDelaySeconds", "scaleDownDelay"),
    ("setCanaryScale", "scale"),
    ("setHeaderRoute", "match"),
    ("setMirrorRoute", "mirror"),
    ("setWeight", "weight"),
    ("threshold", "failureLimit"),
];
/// The same, of what stands elsewhere or is said in another way.
const SAID_OTHERWISE: &[(&str, &str)] = &[
    ("cookieName", "give cookie: {name, maxAge}"),
    ("canary", "what it has stands in spec.rollout itself"),
    ("maxUnavailable", "no pod is taken away before another one is ready"),
    ("stableService", "one Service is made for all versions"),
    ("canaryService", "one Service is made for all versions"),
    ("consecutiveErrorLimit", "give it to the analysis, for all of its metrics"),
    ("count", "give it to the analysis that is a step, for all of its metrics"),
    ("failureLimit", "give it to the analysis, for all of its metrics"),
    ("successCondition", "give the metric min, max or baseline"),
    ("failureCondition", "give the metric min, max or baseline"),
    ("templates", "give metrics"),
    ("thresholdRange", "give the metric min, max or baseline"),
    ("trafficRouting", "routes are made for all versions"),
];

/// Takes the fields of `spec` that the schema does not know out of a manifest, each with a problem.
pub(super) fn prune(schema: &Value, manifest: &mut Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(spec) = manifest.get_mut("spec") {
        node(&schema["properties"]["spec"], spec, "spec", &mut problems);
    }
    problems
}

fn node(schema: &Value, value: &mut Value, path: &str, problems: &mut Vec<Problem>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                node(&schema["items"], item, &format!("{path}[{index}]"), problems);
            }
        }
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            if let Some(properties) = properties {
                let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                problems.extend(unknown(path, map.keys(), &known));
                map.retain(|key, _| properties.contains_key(key));
            }
            for (key, value) in map {
                let schema = properties.map_or(&schema["additionalProperties"], |properties| &properties[key]);
                node(schema, value, &format!("{path}.{key}"), problems);
            }
        }
        _ => {}
    }
}

/// Problems of fields that are not known, with the one that was probably meant.
pub(super) fn unknown<'a>(path: &str, keys: impl Iterator<Item = &'a String>, known: &[&str]) -> Vec<Problem> {
    let refuse = |key: &String| {
        let advice = match meant(key, known) {
            _ if path == "spec" && RESERVED.contains(&key.as_str()) => {
                ": the name is reserved for a later release".to_owned()
            }
            Some(meant) => format!(": did you mean {meant}?"),
            None => SAID_OTHERWISE
                .iter()
                .find(|(elsewhere, _)| elsewhere == key)
                .map(|(_, words)| format!(": {words}"))
                .unwrap_or_default(),
        };
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        Problem::new(&path, format!("unknown field {path:?}{advice}"))
    };
    keys.filter(|key| !known.contains(&key.as_str())).map(refuse).collect()
}

fn meant<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let same = ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == found).map(|(_, here)| *here);
    nearest(found, known).or_else(|| known.iter().copied().find(|name| Some(*name) == same))
}

/// The name that was probably meant.
pub fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&found.to_lowercase(), &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 5)
        .min()
        .map(|(_, name)| name)
}
