//! Requests: who asks, how long it may take, and what is told of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    api::{MetricKind, provider::SecretKey},
    outside::{ClusterSecrets, Secrets, credentials},
};

use super::{
    Given, TOKEN, fault, own, prometheus, reading, ready,
    server::{End, Server, Told},
    vector,
};

fn with(provider: Value, field: &str, value: Value) -> Value {
    let mut provider = provider;
    provider[field] = value;
    provider
}

#[tokio::test]
async fn an_answer_has_an_end_in_time_and_length() {
    let slow = Told { after: Duration::from_secs(60), ..Told::ok(vector(&["1"])) };
    let server = Server::always(slow).await;
    let told = fault(with(prometheus(&server.url), "timeout", json!("200ms")), own("up")).await;
    assert!(told.contains("gave no answer within 200ms") && told.contains("spec.timeout"), "{told}");

    let server = Server::always(Told::ok("1".repeat((1 << 20) + 1))).await;
    let told = fault(prometheus(&server.url), own("up")).await;
    assert!(told.contains("more than 1024 KiB"), "{told}");

    let server = Server::always(Told { end: End::BreaksOff, ..Told::ok(vector(&["1"])) }).await;
    let told = fault(prometheus(&server.url), own("up")).await;
    assert!(told.starts_with(&format!("the answer of {} broke off: ", server.url)), "{told}");
}

#[tokio::test]
async fn nobody_there_is_told_with_address_and_cause() {
    let server = Server::always(Told::ok("")).await;
    let url = server.url.clone();
    drop(server);
    // The port may still be taken for a moment.
    let told = fault(prometheus(&url), own("up")).await;
    assert!(told.contains(&url) && told.contains("cannot be reached") || told.contains("broke off"), "{told}");
    let told = fault(prometheus("http://prometheus.invalid:9090"), own("up")).await;
    assert!(told.starts_with("http://prometheus.invalid:9090 cannot be reached: "), "{told}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::always(Told::ok(vector(&["1"]))).await;
    let told = Told { location: Some(format!("{}/?q=1", elsewhere.url)), ..Told::status(302, "") };
    let server = Server::always(told).await;
    let told = fault(prometheus(&server.url), own("up")).await;
    assert!(told.contains("answered 302 and points elsewhere, which is not followed"), "{told}");
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn credentials_are_sent_and_never_told() {
    let key = json!({"name": "keys", "key": "token"});
    for (field, value, header, sent) in [
        ("bearerTokenSecret", key.clone(), "authorization", format!("Bearer {TOKEN}")),
        ("headers", json!([{"name": "X-Key", "secret": key}]), "x-key", TOKEN.to_owned()),
        ("headers", json!([{"name": "X-Scope-OrgID", "value": "shop"}]), "x-scope-orgid", "shop".to_owned()),
        (
            "basicAuth",
            json!({"username": "ms", "passwordSecret": key}),
            "authorization",
            // printf 'ms:s3cr3t-t0ken' | base64
            "Basic bXM6czNjcjN0LXQwa2Vu".to_owned(),
        ),
    ] {
        // It tells everybody what it was sent.
        let server = Server::start(|asked| {
            let error = format!("no: {:?}", asked.headers);
            Told::status(500, json!({"status": "error", "error": error}).to_string())
        })
        .await;
        let told = fault(with(prometheus(&server.url), field, value), own("up")).await;
        assert_eq!(server.asked()[0].headers[header], sent);
        assert!(told.contains("answered 500: no: "), "{told}");
        assert!(!told.contains(TOKEN) && !told.contains("bXM6czNjcjN0"), "{told}");
    }
}

#[tokio::test]
async fn credentials_that_are_not_there_are_told_by_name() {
    let server = Server::always(Told::ok(vector(&["1"]))).await;
    let secret =
        |name: &str, key: &str| with(prometheus(&server.url), "bearerTokenSecret", json!({"name": name, "key": key}));
    for (provider, words) in [
        (secret("none", "token"), "the Secret \"none\" of the operator's namespace cannot be read: it does not exist"),
        (secret("keys", "none"), "the key \"none\" of the Secret \"keys\" is not there"),
    ] {
        let told = fault(provider, own("up")).await;
        assert!(told.contains(words), "{told}");
    }
    assert!(server.asked().is_empty(), "without its credentials nobody is asked");
    let refusing = Server::always(Told::status(401, TOKEN)).await;
    let told = fault(prometheus(&refusing.url), own("up")).await;
    assert!(told.contains("refuses the operator with 401: mend the credentials") && !told.contains(TOKEN), "{told}");
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_with_its_namespace() {
    let not_found =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
    let server = Server::always(Told::status(404, not_found.to_string())).await;
    let config = kube::Config::new(server.url.parse().unwrap());
    let secrets = ClusterSecrets::new(kube::Client::try_from(config).unwrap(), "operators");
    assert_eq!(
        secrets.read("keys").await.unwrap_err().to_string(),
        "the Secret \"keys\" of the operator's namespace cannot be read: there is none in operators; create it there"
    );
}

#[tokio::test]
async fn a_certificate_that_is_none_is_told() {
    let provider = with(prometheus("https://127.0.0.1:1"), "caSecret", json!({"name": "keys", "key": "ca"}));
    let told = fault(provider, own("up")).await;
    assert!(told.contains("spec.caSecret has no certificate that can be read"), "{told}");
}

#[tokio::test]
async fn who_may_ask_what_is_the_administrators() {
    let server = Server::always(Told::ok(vector(&["1"]))).await;
    let provider = with(prometheus(&server.url), "ownQueries", json!("Deny"));
    let told = fault(provider.clone(), own("sum(secrets)")).await;
    assert!(told.contains("answers no own queries") && told.contains("reads whatever the provider holds"), "{told}");
    let provider = with(provider, "namespaces", json!(["bookinfo"]));
    let told = fault(provider.clone(), ready(MetricKind::Throughput)).await;
    assert!(told.contains("is not for the namespace \"shop\""), "{told}");
    let mut unknown = ready(MetricKind::Throughput);
    unknown.provider = "other".to_owned();
    assert!(fault(provider.clone(), unknown).await.starts_with("there is no AnalysisProvider \"other\""));
    assert!(server.asked().is_empty());
    let provider = with(provider, "namespaces", json!(["bookinfo", "shop"]));
    assert_eq!(reading(provider, ready(MetricKind::Throughput)).await.unwrap().value, Some(1.0));
}

#[tokio::test]
async fn a_secret_of_line_breaks_is_none() {
    let key = |key: &str| SecretKey { name: "keys".to_owned(), key: key.to_owned() };
    assert_eq!(credentials::text(&Given, &key("token")).await.unwrap(), TOKEN);
    let refused = credentials::text(&Given, &key("line")).await.unwrap_err().to_string();
    assert!(refused.ends_with("is empty: fill it"), "{refused}");
}

#[tokio::test]
async fn of_an_address_nothing_is_told_but_where_it_is() {
    let moved = Told { location: Some("https://prometheus.example/te4m".to_owned()), ..Told::status(302, "") };
    for (told, words) in [
        (Told::status(500, ""), "answered 500"),
        (Told::status(403, ""), "refuses the operator with 403"),
        (Told::ok("<html>login</html>"), "answered what is no answer of Prometheus"),
        (moved, "answered 302 and points elsewhere"),
    ] {
        let server = Server::always(told).await;
        let told = fault(prometheus(&format!("{}/te4m", server.url)), own("up")).await;
        assert!(told.starts_with(&format!("{} {words}", server.url)) && !told.contains("te4m"), "{told}");
        assert_eq!(server.asked()[0].uri.path(), "/te4m/api/v1/query");
    }
    let told = fault(prometheus("https://prometheus.example:443443/te4m"), own("up")).await;
    assert_eq!(told, "the address in the AnalysisProvider cannot be used: mend it");
}
