//! Datadog, and anything else that answers with JSON.

use serde_json::{Value, json};

use crate::api::MetricKind;

use super::{
    TOKEN, fault, own, reading, ready, reply,
    server::{Server, Told},
};

fn datadog(url: &str) -> Value {
    let key = json!({"name": "keys", "key": "token"});
    json!({"datadog": {"url": url, "apiKeySecret": key, "applicationKeySecret": key}, "ownQueries": "Allow"})
}

fn columns(values: &Value) -> String {
    let columns = json!([{"name": "a", "type": "number", "values": values}]);
    json!({"data": {"type": "scalar_response", "attributes": {"columns": columns}}}).to_string()
}

#[tokio::test]
async fn datadog_is_asked_for_one_number_over_the_window() {
    let server = Server::always(Told::ok(columns(&json!([0.25])))).await;
    let told = reply(datadog(&server.url), own("avg:errors{version:${version},ns:${namespace}}")).await;
    assert_eq!(told.query.as_deref(), Some("avg:errors{version:v2,ns:shop}"));
    let asked = &server.asked()[0];
    assert_eq!((asked.uri.path(), &asked.headers["dd-api-key"]), ("/api/v2/query/scalar", &TOKEN.parse().unwrap()));
    assert_eq!(asked.headers["dd-application-key"], TOKEN);
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    let attributes = &body["data"]["attributes"];
    assert_eq!(attributes["to"].as_i64().unwrap() - attributes["from"].as_i64().unwrap(), 60_000);
    assert_eq!(attributes["to"].as_i64(), Some(told.at.as_millisecond()));
    assert_eq!(attributes["queries"][0]["query"], "avg:errors{version:v2,ns:shop}");
}

#[tokio::test]
async fn datadogs_answers_are_taken_for_what_they_are() {
    for (status, answer, found) in [
        (200, columns(&json!([1.5])), Ok(Some(1.5))),
        (200, columns(&json!([])), Ok(None)),
        (200, columns(&json!([null])), Ok(None)),
        (200, columns(&json!([1, 2])), Err("comes to 2 numbers")),
        (200, json!({"data": {"attributes": {"columns": []}}}).to_string(), Ok(None)),
        (200, json!({"errors": "query is wrong"}).to_string(), Err("query is wrong")),
        (400, json!({"errors": ["bad", "worse"]}).to_string(), Err("answered 400: bad; worse")),
        (403, json!({"errors": ["Forbidden"]}).to_string(), Err("refuses the operator with 403")),
        (200, "no json".to_owned(), Err("no answer of Datadog")),
    ] {
        let server = Server::always(Told::status(status, answer.clone())).await;
        let told = reading(datadog(&server.url), own("a{v:${version}}")).await.map(|reading| reading.value);
        match (&told, &found) {
            (Err(told), Err(words)) => assert!(told.contains(words), "{answer}: {told}"),
            _ => assert_eq!(told.as_ref().ok(), found.as_ref().ok(), "{answer}: {told:?}"),
        }
    }
    let told = fault(datadog("http://127.0.0.1:1"), ready(MetricKind::LatencyP50)).await;
    assert_eq!(told, "Datadog has no ready-made metrics: give the metric a query");
}

#[tokio::test]
async fn an_address_is_asked_with_its_placeholders_replaced() {
    let server = Server::always(Told::ok(json!({"data": [{"value": 12.5}]}).to_string())).await;
    let url = format!("{}/${{namespace}}/${{service}}?v=${{version}}&k=${{kind}}&s=${{window}}", server.url);
    let provider = json!({"http": {"url": url, "value": "/data/0/value"}});
    let mut asked = ready(MetricKind::LatencyP95);
    asked.version = "../v2?&".to_owned();
    let told = reply(provider.clone(), asked).await;
    assert_eq!(server.asked()[0].uri, "/shop/web?v=..%2Fv2%3F%26&k=LatencyP95&s=60");
    assert_eq!(told.query, Some(format!("GET {}", server.url)), "what follows the host is kept back");
    assert_eq!(reading(provider.clone(), ready(MetricKind::LatencyP95)).await.unwrap().value, Some(12.5));
    let own_query = json!({"http": provider["http"], "ownQueries": "Allow"});
    assert!(fault(own_query, own("x")).await.contains("has no ${query}"));
    let mut counted = ready(MetricKind::LatencyP95);
    counted.count = true;
    let counted = reading(provider, counted).await.unwrap();
    assert_eq!((counted.value, counted.requests), (Some(12.5), Some(13.0)));
    let counts = server.asked().iter().filter(|asked| asked.uri.to_string().contains("k=Requests")).count();
    assert_eq!(counts, 1);
}

#[tokio::test]
async fn of_an_address_nothing_is_told_but_where_it_is() {
    let server = Server::start(|asked| Told::status(404, format!("Cannot GET {}", asked.uri))).await;
    let provider = json!({"http": {"url": format!("{}/te4m/${{kind}}?key=k3y", server.url)}});
    let told = fault(provider, ready(MetricKind::Throughput)).await;
    assert_eq!(told, format!("{} answered 404: Cannot GET ***?***", server.url));
}

#[tokio::test]
async fn a_body_takes_queries_as_text() {
    let server = Server::always(Told::ok("3")).await;
    let http = json!({"url": server.url, "method": "POST", "body": "{\"q\": \"${query}\"}"});
    let provider = json!({"http": http, "ownQueries": "Allow"});
    let found = reading(provider.clone(), own("a \"${version}\"\n")).await.unwrap();
    let asked = &server.asked()[0];
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!((found.value, &body["q"], asked.method.as_str()), (Some(3.0), &json!("a \"v2\"\n"), "POST"));
    let counted = super::Measure { count: true, ..own("x") };
    assert!(fault(provider.clone(), counted).await.contains("leave minRequests out"));
    let told = fault(provider, ready(MetricKind::Throughput)).await;
    assert!(told.contains("no ready-made metrics unless its url or body has ${kind}"), "{told}");
}

#[tokio::test]
async fn what_stands_at_the_pointer_must_be_a_number() {
    for (answer, found) in [
        (json!({"v": 1}), Ok(Some(1.0))),
        (json!({"v": "1.5"}), Ok(Some(1.5))),
        (json!({"v": "NaN"}), Ok(None)),
        (json!({"v": null}), Ok(None)),
        (json!({}), Ok(None)),
        (json!({"v": "many"}), Err("comes to a text")),
        (json!({"v": [1]}), Err("comes to a list")),
        (json!({"v": "inf"}), Err("infinite")),
    ] {
        let server = Server::always(Told::ok(answer.to_string())).await;
        let provider = json!({"http": {"url": format!("{}/${{kind}}", server.url), "value": "/v"}});
        let told = reading(provider, ready(MetricKind::Throughput)).await.map(|reading| reading.value);
        match (&told, &found) {
            (Err(told), Err(words)) => assert!(told.contains(words), "{answer}: {told}"),
            _ => assert_eq!(told.as_ref().ok(), found.as_ref().ok(), "{answer}: {told:?}"),
        }
    }
}
