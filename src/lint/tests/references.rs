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
    of_cluster("AnalysisProvider", name, "{prometheus: {url: 'http://prometheus.example:9090'}}")
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
