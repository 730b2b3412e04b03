//! Addresses without TLS, where something is to be kept from others.

use crate::{
    api::{AnalysisProviderSpec, RolloutWebhookSpec},
    input::Origin,
    validate::{Problem, syntax::is_loopback},
};

use super::given::Given;

/// Whoever is on the way reads the credentials that are sent, and changes what is answered.
pub(super) fn plain_http_credentials(given: &Given) -> Vec<(&Origin, &str, Problem)> {
    let providers = given.providers.iter().filter_map(|made| {
        let problem = of_provider(made.spec.as_ref()?)?;
        Some((&made.origin, made.name.as_str(), problem))
    });
    let webhooks = given.webhooks.iter().filter_map(|made| {
        let problem = of_webhook(made.spec.as_ref()?)?;
        Some((&made.origin, made.name.as_str(), problem))
    });
    providers.chain(webhooks).collect()
}

fn of_provider(spec: &AnalysisProviderSpec) -> Option<Problem> {
    let addresses = [
        ("spec.prometheus.url", spec.prometheus.as_ref().map(|settings| settings.url.as_str())),
        ("spec.datadog.url", spec.datadog.as_ref().and_then(|settings| settings.url.as_deref())),
        ("spec.http.url", spec.http.as_ref().map(|settings| settings.url.as_str())),
    ];
    let (path, _) = addresses.into_iter().find(|(_, url)| url.is_some_and(is_open))?;
    let credentials = credentials(spec);
    if credentials.is_empty() {
        return None;
    }
    let message = format!(
        "the credentials ({}) and the numbers are open to whoever is on the way: use an address with https://",
        credentials.join(", ")
    );
    Some(Problem::new(path, message))
}

/// The settings that have a credential sent.
fn credentials(spec: &AnalysisProviderSpec) -> Vec<String> {
    let settings = [
        ("bearerTokenSecret", spec.bearer_token_secret.is_some()),
        ("basicAuth", spec.basic_auth.is_some()),
        ("datadog.apiKeySecret", spec.datadog.is_some()),
        ("datadog.applicationKeySecret", spec.datadog.is_some()),
    ];
    let settings = settings.into_iter().filter(|(_, set)| *set).map(|(setting, _)| setting.to_owned());
    let headers = spec.headers.iter().filter(|header| header.secret.is_some());
    settings.chain(headers.map(|header| format!("headers[{}]", header.name))).collect()
}

/// The key of a webhook is never sent, and guards the calls alone. Without `allowHttp` the API server refuses the address.
fn of_webhook(spec: &RolloutWebhookSpec) -> Option<Problem> {
    let signed = spec.allow_http && spec.signing_secret.is_some() && is_open(&spec.url);
    let message = "calls are signed (signingSecret) and answers are not: whoever is on the way can read the calls, and \
                   answer in its place: use an address with https://";
    signed.then(|| Problem::new("spec.url", message))
}

/// Whether what is sent to an address leaves the pod as it is.
fn is_open(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    !is_loopback(host)
}
