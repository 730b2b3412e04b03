//! Rules of AnalysisProviders.

use super::{Placed, one_of, rule};

/// An address: a scheme and a host, then anything but credentials and placeholders.
const ADDRESS: &str = "self.url.matches('^https?://[^/?#@$ ]+([/?#][^$ ]*)?$')";
/// The same, with placeholders after the host.
const TEMPLATE: &str = "self.url.matches('^https?://[^/?#@$ ]+([/?#]([^$ ]|[$][^{ ]|[$][{](version|service|namespace|window|\
                        kind|query)[}])*)?$')";
/// Nothing behind the path, to which more of it is added.
const ENDS_WITH_PATH: &str = "self.url.matches('^[^?#]*$')";
const BODY: &str = "!has(self.body) || \
                    self.body.matches('^([^$]|[$][^{]|[$][{](version|service|namespace|window|kind|query)[}])*$')";
const NO_ADDRESS: &str = "an address begins with http:// or https:// and a host, and has no credentials in it: those belong in a \
                          Secret";

pub(in super::super) fn provider() -> Vec<Placed> {
    vec![
        rule(
            "spec",
            one_of(&["prometheus", "datadog", "http"]),
            "say what is asked: exactly one of prometheus, datadog and http",
        ),
        rule(
            "spec",
            "!(has(self.bearerTokenSecret) && has(self.basicAuth))",
            "a request has one way to log in: either bearerTokenSecret or basicAuth",
        ),
        rule(
            "spec",
            "!has(self.datadog) || self.ownQueries == 'Allow'",
            "Datadog has no ready-made metrics, it answers own queries only: set ownQueries to Allow",
        ),
        rule(
            "spec",
            "!has(self.timeout) || (duration(self.timeout) >= duration('100ms') && duration(self.timeout) <= \
             duration('60s'))",
            "timeout must be from 100ms to 1m",
        ),
        rule("spec.prometheus", ADDRESS, NO_ADDRESS),
        rule(
            "spec.prometheus",
            ENDS_WITH_PATH,
            "/api/v1/query is added to the address: remove its ? or #, and what follows",
        ),
        rule("spec.datadog", "!(has(self.site) && has(self.url))", "site and url say the same: remove one of them"),
        rule("spec.datadog", format!("!has(self.url) || {ADDRESS}"), NO_ADDRESS),
        rule(
            "spec.datadog",
            format!("!has(self.url) || {ENDS_WITH_PATH}"),
            "/api/v2/query/scalar is added to the address: remove its ? or #, and what follows",
        ),
        rule(
            "spec.http",
            TEMPLATE,
            "an address begins with http:// or https:// and a host without credentials; after the host, ${version}, \
             ${service}, ${namespace}, ${window}, ${kind} and ${query} are known, and no others",
        ),
        rule(
            "spec.http",
            BODY,
            "${version}, ${service}, ${namespace}, ${window}, ${kind} and ${query} are known in a body, and no others",
        ),
        rule(
            "spec.http",
            "!has(self.body) || self.method == 'POST'",
            "a GET has no body: set method to POST, or remove body",
        ),
        rule("spec.headers[]", one_of(&["value", "secret"]), "a header has exactly one of value and secret"),
    ]
}
