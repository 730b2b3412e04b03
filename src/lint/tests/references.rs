//! What an administrator makes, and services that name it.

use super::*;

fn of_cluster(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: microservice-operator.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

fn webhook(name: &str, more: &str) -> String {
    of_cluster("RolloutWebhook", name, &format!("{{url: 'https://ci.example/{name}'{more}}}"))
}

fn provider(name: &str) -> String {
    prometheus(name, "http://prometheus.example:9090", "")
}

fn prometheus(name: &str, url: &str, more: &str) -> String {
    of_cluster("AnalysisProvider", name, &format!("{{prometheus: {{url: '{url}'}}{more}}}"))
}

#[test]
fn webhooks_are_checked_as_the_api_server_does() {
    assert_eq!(found(&webhook("chat", ", timeout: 30s, retries: 5")), Vec::<String>::new());
    assert_eq!(
        found(&webhook("chat", ", retrie: 3, timeout: 2m")),
        [
            "chat spec.retrie [refused] unknown field \"spec.retrie\": did you mean retries?",
            "chat spec [refused] timeout must be from 100ms to 1m",
        ]
    );
    assert_eq!(
        only(&of_cluster("RolloutWebhok", "chat", "{}")),
        "shop/chat kind [refused] RolloutWebhok is not known: this group has Microservice, MicroserviceList, \
         MicroserviceAction, AnalysisProvider, RolloutWebhook in microservice-operator.dev/v1alpha1: did you mean \
         RolloutWebhook?"
    );
}

#[test]
fn warns_of_a_webhook_that_is_not_among_those_given() {
    let service = with(
        "a",
        "rollout: {steps: [{weight: 5}], webhooks: [{webhook: tests, at: [BeforeTraffic]}, {webhook: chta, at: [OnEvent]}]}",
    );
    assert_eq!(found(&service), Vec::<String>::new(), "they may be anywhere");
    assert_eq!(
        found(&format!("{}{}{service}", webhook("chat", ""), webhook("load", ""))),
        [
            "shop/a spec.rollout.webhooks[0].webhook [unknown-webhook] no RolloutWebhook named tests is in the given \
             files: there is chat, load",
            "shop/a spec.rollout.webhooks[1].webhook [unknown-webhook] no RolloutWebhook named chta is in the given \
             files: did you mean chat?",
        ]
    );
    let all = format!("{service}{}{}", webhook("tests", ""), webhook("chta", ""));
    assert_eq!(found(&all), Vec::<String>::new());
}

#[test]
fn warns_of_a_provider_that_is_not_among_those_given() {
    let metrics = "metrics: [{name: success, kind: SuccessRate, min: 99}]";
    let service = with(
        "a",
        &format!(
            "rollout: {{analysis: {{{metrics}}}, steps: [{{weight: 5}}, {{analysis: {{provider: slow, {metrics}}}}}]}}"
        ),
    );
    assert_eq!(found(&service), Vec::<String>::new(), "they may be anywhere");
    assert_eq!(
        found(&format!("{service}{}{}", webhook("chat", ""), provider("shop"))),
        [
            "shop/a spec.rollout.analysis.provider [unknown-provider] no AnalysisProvider named default is in the given \
             files: there is shop",
            "shop/a spec.rollout.steps[1].analysis.provider [unknown-provider] no AnalysisProvider named slow is in the \
             given files: there is shop",
        ]
    );
    let all = format!("{service}{}{}", provider("default"), provider("slow"));
    assert_eq!(found(&all), Vec::<String>::new());
}

#[test]
fn warns_of_what_those_given_refuse() {
    let of = |name: &str, more: &str| prometheus(name, "https://prometheus.example:9090", more);
    let metrics = "metrics: [{name: success, kind: SuccessRate, min: 99}, {name: own, query: 'vector(1)', min: 0}]";
    let service = with(
        "a",
        &format!(
            "rollout: {{analysis: {{{metrics}}}, steps: [{{weight: 5}}, {{analysis: {{provider: slow, {metrics}}}}}], \
             webhooks: [{{webhook: chat, at: [OnEvent]}}]}}"
        ),
    );
    let elsewhere = of("default", ", namespaces: [bank], ownQueries: Allow");
    let denies = of("slow", ", namespaces: [bank, shop]");
    let others = webhook("chat", ", namespaces: [bank, mall]");
    assert_eq!(
        found(&format!("{service}{elsewhere}{denies}{others}")),
        [
            "shop/a spec.rollout.analysis.provider [closed-provider] the AnalysisProvider default is not for the namespace \
             shop: name another one, or have an administrator add shop to its spec.namespaces",
            "shop/a spec.rollout.webhooks[0].webhook [closed-webhook] the RolloutWebhook chat is not for the namespace shop: \
             name another one, or have an administrator add shop to its spec.namespaces",
            "shop/a spec.rollout.steps[1].analysis.metrics[own].query [denied-query] the AnalysisProvider slow answers no \
             own queries: use a ready-made kind, or have an administrator set its spec.ownQueries to Allow",
        ]
    );
    let (default, slow) = (of("default", ", ownQueries: Allow"), of("slow", ", namespaces: [shop], ownQueries: Allow"));
    let chat = webhook("chat", "");
    assert_eq!(found(&format!("{service}{default}{slow}{chat}")), Vec::<String>::new());
    let twice = format!("{service}{elsewhere}{default}{denies}{slow}{others}{chat}");
    assert_eq!(found(&twice), Vec::<String>::new(), "whichever is applied decides");
    let unread = of("default", ", namespaces: 5");
    let told = found(&format!("{service}{unread}{slow}{chat}"));
    assert!(told.iter().all(|line| line.starts_with("default spec.namespaces [refused]")), "{told:#?}");
}

#[test]
fn warns_of_credentials_without_tls() {
    let headers = "headers: [{name: X-Scope-OrgID, value: shop}, {name: X-Key, secret: {name: keys, key: token}}]";
    let token = "bearerTokenSecret: {name: keys, key: token}";
    let login = "basicAuth: {username: ms, passwordSecret: {name: keys, key: password}}";
    let plain = "http://prometheus.example:9090/tenant";
    let told = |credentials: &str| {
        format!(
            "[plain-http-credentials] the credentials ({credentials}) and the numbers are open to whoever is on the way: use \
             an address with https://"
        )
    };
    for (more, credentials) in [
        (format!(", {token}, {headers}"), "bearerTokenSecret, headers[X-Key]"),
        (format!(", {login}"), "basicAuth"),
        (format!(", {headers}"), "headers[X-Key]"),
    ] {
        assert_eq!(only(&prometheus("p", plain, &more)), format!("p spec.prometheus.url {}", told(credentials)));
    }
    let http = of_cluster("AnalysisProvider", "h", &format!("{{http: {{url: 'http://[fd12::1]:80/'}}, {token}}}"));
    assert_eq!(only(&http), format!("h spec.http.url {}", told("bearerTokenSecret")));
    let datadog = "{datadog: {url: 'http://datadog.example', apiKeySecret: {name: keys, key: api}, applicationKeySecret: \
                   {name: keys, key: application}}, ownQueries: Allow}";
    assert_eq!(
        only(&of_cluster("AnalysisProvider", "d", datadog)),
        format!("d spec.datadog.url {}", told("datadog.apiKeySecret, datadog.applicationKeySecret"))
    );
    let signed = webhook("chat", ", allowHttp: true, signingSecret: {name: keys, key: signing}");
    let text = only(&signed.replace("https:", "http:"));
    assert!(text.starts_with("chat spec.url [plain-http-credentials] calls are signed (signingSecret)"), "{text}");

    for fine in [
        signed,
        webhook("chat", ", allowHttp: true").replace("https:", "http:"),
        prometheus("p", plain, ""),
        prometheus("p", plain, ", headers: [{name: X-Scope-OrgID, value: shop}]"),
        prometheus("p", "https://prometheus.example:9090", &format!(", {token}")),
        prometheus("p", "http://localhost:9090", &format!(", {token}")),
        prometheus("p", "http://127.0.0.1:9090/", &format!(", {token}")),
        prometheus("p", "http://[::1]", &format!(", {token}")),
        of_cluster("AnalysisProvider", "d", &datadog.replace("url: 'http://datadog.example', ", "")),
    ] {
        assert_eq!(found(&fine), Vec::<String>::new(), "{fine}");
    }
}
