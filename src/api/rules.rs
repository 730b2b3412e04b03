//! The rules that the API server checks with CEL: where they stand, what they ask, and what they tell the user.
//!
//! The API server refuses a CRD whose rules may cost too much, and it takes the length of everything computed for
//! endless. So a message is never concatenated from values: it is one `format` of a fixed text.
//!
//! A rule stands at the smallest place that has all it looks at: with each field that a rule reads, the API server copies the
//! schemas of all fields beside it, which are 42 in `spec`, and it asks each rule with each write, of the status too.

mod analyses;
mod image;
mod pods;
mod providers;
mod rollouts;
mod routes;
mod webhooks;

use kube::core::{Message, Rule};

/// A path in the schema and the rule that stands there.
type Placed = (String, Rule);

pub(super) use providers::provider;
pub(super) use webhooks::webhook;

/// All rules of a Microservice, in groups.
pub(super) const RULES: &[fn() -> Vec<Placed>] = &[
    versions,
    image::revisions,
    ports,
    dependencies,
    traffic,
    routes::lists,
    routes::entries,
    routes::matches,
    rollouts::policy,
    analyses::analyses,
    rollouts::requests,
    pods::metadata,
    pods::environment,
    pods::handlers,
    pods::volumes,
    pods::settings,
    pods::containers,
    pods::security,
];

fn rule(path: impl Into<String>, expression: impl Into<String>, message: &str) -> Placed {
    (path.into(), Rule::new(expression).message(Message::Message(message.to_owned())))
}

/// A rule whose message names values: `text` with a `%s` or `%d` for each of the CEL expressions in `values`.
fn told(path: impl Into<String>, expression: impl Into<String>, text: &str, values: &[&str]) -> Placed {
    let message = format!("'{}'.format([{}])", text.replace('\'', "\\'"), values.join(", "));
    (path.into(), Rule::new(expression).message(Message::Expression(message)))
}

/// The same, reported at a field below the place of the rule.
fn told_at(field: &str, (path, rule): Placed) -> Placed {
    (path, rule.field_path(field))
}

/// That no entry of a list is so. `each` is a variable and a condition, as in CEL's `exists`.
fn none(list: &str, each: &str) -> String {
    format!("!has(self.{list}) || !self.{list}.exists({each})")
}

/// That no entry of the list where the rule stands is so.
fn none_here(each: &str) -> String {
    format!("!self.exists({each})")
}

/// The first entry of that list that is so.
fn first_here(each: &str) -> String {
    format!("self.filter({each})[0]")
}

/// The first entry of a list that is so.
fn first(list: &str, each: &str) -> String {
    format!("self.{list}.filter({each})[0]")
}

/// That exactly one of the fields is given.
fn one_of(fields: &[&str]) -> String {
    let given = fields.iter().map(|field| format!("has(self.{field})")).collect::<Vec<_>>().join(", ");
    format!("[{given}].filter(x, x).size() == 1")
}

fn versions() -> Vec<Placed> {
    const SUM: &str = "self.map(v, has(v.weight) ? v.weight : 0).sum()";
    const LONG: &str = "v, size(self.metadata.name) + size(v.name) > 45";
    let long = first("spec.versions", LONG);
    vec![
        told_at(
            ".spec.versions",
            told(
                "",
                none("spec.versions", LONG),
                "names of pods are made from metadata.name and the version's name, so they may have 45 characters \
                 together, but %s and %s have %d: shorten one of them",
                &[
                    "self.metadata.name",
                    &format!("{long}.name"),
                    &format!("size(self.metadata.name) + size({long}.name)"),
                ],
            ),
        ),
        told(
            "spec.versions",
            format!("self.size() < 2 || {SUM} == 100"),
            "the weights of the versions must sum to 100, but %s sum to %d",
            &["self.map(v, '%s=%d'.format([v.name, has(v.weight) ? v.weight : 0]))", SUM],
        ),
        told(
            "spec.versions",
            "self.size() != 1 || !has(self[0].weight) || self[0].weight == 100",
            "the only version %s gets all requests: its weight must be 100 or left out, not %d",
            &["self[0].name", "self[0].weight"],
        ),
    ]
}

fn ports() -> Vec<Placed> {
    const TWICE: &str = "p, self.exists(q, q.name != p.name && q.port == p.port)";
    const MISSING: &str = "p, !has(self.ports) || !self.ports.exists(q, q.name == p.name)";
    const TCP: &str = "t, (has(t.timeout) || has(t.retries)) && has(self.ports) && \
                       self.ports.exists(p, p.name == t.name && p.protocol == 'TCP')";
    let unknown = format!("v, has(v.ports) && v.ports.exists({MISSING})");
    let version = first("versions", &unknown);
    vec![
        told(
            "spec.ports",
            none_here(TWICE),
            "port %d is listed more than once: every port needs a number of its own",
            &[&format!("{}.port", first_here(TWICE))],
        ),
        told_at(
            ".versions",
            told(
                "spec",
                none("versions", &unknown),
                "version %s overrides port %s, which is not in the service's ports",
                &[&format!("{version}.name"), &format!("{version}.ports.filter({MISSING})[0].name")],
            ),
        ),
        told_at(
            ".traffic.ports",
            told(
                "spec",
                format!("!has(self.traffic) || {}", none("traffic.ports", MISSING)),
                "traffic.ports names port %s, which is not in the service's ports",
                &[&format!("{}.name", first("traffic.ports", MISSING))],
            ),
        ),
        told_at(
            ".traffic.ports",
            told(
                "spec",
                format!("!has(self.traffic) || {}", none("traffic.ports", TCP)),
                "port %s speaks TCP, which has no requests to time out or to retry: remove timeout and retries",
                &[&format!("{}.name", first("traffic.ports", TCP))],
            ),
        ),
    ]
}

fn dependencies() -> Vec<Placed> {
    const SELF: &str = "d, !has(d.__namespace__) && d.name == self.metadata.name";
    const TWICE: &str = "d, !self.exists_one(e, e.name == d.name && e.port == d.port && \
                         has(e.__namespace__) == has(d.__namespace__) && \
                         (!has(e.__namespace__) || e.__namespace__ == d.__namespace__))";
    vec![
        told_at(
            ".spec.dependencies",
            told(
                "",
                none("spec.dependencies", SELF),
                "%s cannot be a dependency of itself: remove it",
                &["self.metadata.name"],
            ),
        ),
        told(
            "spec.dependencies",
            none_here(TWICE),
            "dependency %s is listed more than once with the same port",
            &[&format!("{}.name", first_here(TWICE))],
        ),
    ]
}

/// One try must not be given longer than the whole request.
const TRY_WITHIN_TIMEOUT: &str = "!has(self.retries) || !has(self.retries.perTryTimeout) || !has(self.timeout) || \
                                  duration(self.retries.perTryTimeout) <= duration(self.timeout)";

fn try_within_timeout(path: &str) -> Placed {
    told(
        path,
        TRY_WITHIN_TIMEOUT,
        "retries.perTryTimeout %s is longer than the timeout %s of the whole request: shorten it",
        &["self.retries.perTryTimeout", "self.timeout"],
    )
}

fn traffic() -> Vec<Placed> {
    ["spec.traffic", "spec.traffic.ports[]", "spec.routes[]"].into_iter().map(try_within_timeout).collect()
}
