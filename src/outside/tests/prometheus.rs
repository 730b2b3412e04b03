//! Prometheus: what it is asked, and what its answers are taken for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::MetricKind;

use super::{
    TOKEN, fault, own, prometheus, reading, ready, reply,
    server::{Asked, Server, Told, field},
    vector,
};

const V2: &str = r#"cluster_name="outbound|80|v2|web.shop.svc.cluster.local""#;

#[tokio::test]
async fn value_baseline_and_count_are_of_one_time() {
    let server = Server::start(|asked| {
        let query = field(&asked.body, "query");
        let value = match (query.starts_with("100 *"), query.contains("|v1|")) {
            (true, true) => "99.5",
            (true, false) => "97.25",
            (false, _) => "411.7",
        };
        Told::ok(vector(&[value]))
    })
    .await;
    let mut asked = ready(MetricKind::SuccessRate);
    asked.baseline = Some("v1".to_owned());
    asked.count = true;
    let told = reply(prometheus(&server.url), asked.clone()).await;
    let found = reading(prometheus(&server.url), asked).await.unwrap();
    assert_eq!((found.value, found.baseline, found.requests), (Some(97.25), Some(99.5), Some(412.0)));
    assert!(told.query.unwrap().contains(V2));

    let requests = server.asked();
    assert_eq!(requests.len(), 6);
    let times: BTreeSet<_> = requests[..3].iter().map(|asked| field(&asked.body, "time")).collect();
    assert_eq!(times.len(), 1, "{times:?}");
    let time: f64 = times.first().unwrap().parse().unwrap();
    assert!((time - told.at.as_duration().as_secs_f64()).abs() < 0.001, "{time} is not {}", told.at);
    let versions = requests[..3].iter().filter(|asked| field(&asked.body, "query").contains("|v1|")).count();
    assert_eq!(versions, 1, "the baseline is not counted");
    assert!(requests.iter().all(|asked| asked.method == "POST" && asked.uri.path() == "/api/v1/query"));
}

#[tokio::test]
async fn ready_made_metrics_are_of_the_version_alone() {
    let server = Server::always(Told::ok(vector(&["1"]))).await;
    let query = async |stats: &str, kind: MetricKind, ports: &[i32]| {
        let asked = super::Measure { ports: ports.to_vec(), ..ready(kind) };
        reply(json!({"prometheus": {"url": server.url, "stats": stats}}), asked).await.query.unwrap()
    };
    let success = query("Envoy", MetricKind::SuccessRate, &[80]).await;
    assert!(success.contains(&format!(r#"envoy_cluster_upstream_rq{{{V2},response_code_class="5xx"}}"#)), "{success}");
    let both = query("Envoy", MetricKind::Throughput, &[80, 8080]).await;
    let clusters = r#"cluster_name=~"outbound[|](80|8080)[|]v2[|]web[.]shop[.]svc[.]cluster[.]local""#;
    assert!(both.contains(clusters) && both.ends_with(" / 60"), "{both}");
    let slow = query("Envoy", MetricKind::LatencyP99, &[80]).await;
    assert!(slow.starts_with("histogram_quantile(0.99, sum by (le) (") && slow.contains("rq_time_bucket{"), "{slow}");
    for (kind, word) in [(MetricKind::LatencyP50, "(0.5,"), (MetricKind::LatencyP95, "(0.95,")] {
        assert!(query("Envoy", kind, &[80]).await.contains(word));
    }
    let istio = query("Istio", MetricKind::SuccessRate, &[80]).await;
    let failed = r#"destination_workload_namespace="shop",destination_workload="web-v2",response_code=~"5.."}"#;
    assert!(istio.contains(failed), "{istio}");
    let calls = |stats: &str| {
        let provider = json!({"prometheus": {"url": server.url, "stats": stats}});
        (provider, super::Measure { calls: super::Calls::All, ..ready(MetricKind::SuccessRate) })
    };
    let (provider, asked) = calls("Istio");
    let query = reply(provider, asked).await.query.unwrap();
    let failed = r#"destination_workload="web-v2",response_code!~"5..",grpc_response_status=~"2|4|12|13|14|15"}"#;
    assert!(query.contains(failed) && query.matches(" or vector(0))").count() == 2, "{query}");
    let (provider, asked) = calls("Envoy");
    let told = fault(provider, asked).await;
    assert!(told.contains("do not tell which calls failed"), "{told}");
    let told = fault(prometheus(&server.url), super::Measure { ports: vec![], ..ready(MetricKind::Throughput) }).await;
    assert!(told.contains("no port that carries requests"), "{told}");
}

/// How far a counter went up in the last minute.
fn counted(series: &str, by: &str) -> String {
    format!(
        "sum{by}(last_over_time({series}[60s]) - (last_over_time({series}[300s] offset 60s) unless \
         resets({series}[360s]) > 0) or last_over_time({series}[60s]))"
    )
}

/// That a minute before the last one there were series of the service, or that the version's job was scraped.
fn seen(service: &str, version: &str) -> String {
    format!(
        "and on () (last_over_time({service}[180s] offset 120s) or max_over_time(up[180s] offset 120s) == 1 \
         and on (job) last_over_time({version}[60s]))"
    )
}

#[tokio::test]
async fn requests_are_counted_only_where_the_source_was_seen_before_the_window() {
    let server = Server::always(Told::ok(vector(&["1"]))).await;
    let query = async |stats: &str, kind: MetricKind| {
        reply(json!({"prometheus": {"url": server.url, "stats": stats}}), ready(kind)).await.query.unwrap()
    };
    let version = format!("envoy_cluster_upstream_rq_completed{{{V2}}}");
    let service = r#"cluster_name=~"outbound[|](80)[|][^|]*[|]web[.]shop[.]svc[.]cluster[.]local""#;
    let seen_by_envoy = seen(&format!("envoy_cluster_upstream_rq_completed{{{service}}}"), &version);
    let requests = format!("{} {seen_by_envoy}", counted(&version, ""));
    let failed = counted(&format!(r#"envoy_cluster_upstream_rq{{{V2},response_code_class="5xx"}}"#), "");
    let buckets = counted(&format!("envoy_cluster_upstream_rq_time_bucket{{{V2}}}"), " by (le) ");
    for (kind, expected) in [
        (MetricKind::Throughput, format!("({requests}) / 60")),
        (MetricKind::SuccessRate, format!("100 * (1 - ({failed} or vector(0)) / ({requests}))")),
        (MetricKind::LatencyP95, format!("histogram_quantile(0.95, {buckets} {seen_by_envoy})")),
    ] {
        assert_eq!(query("Envoy", kind).await, expected);
    }
    let [version, service] = [
        r#"destination_workload_namespace="shop",destination_workload="web-v2""#,
        r#"destination_service_namespace="shop",destination_service_name="web""#,
    ]
    .map(|labels| format!(r#"istio_requests_total{{reporter=~"source|waypoint",{labels}}}"#));
    let expected = format!("({} {}) / 60", counted(&version, ""), seen(&service, &version));
    assert_eq!(query("Istio", MetricKind::Throughput).await, expected);
}

#[tokio::test]
async fn an_own_query_has_its_placeholders_replaced() {
    let server = Server::always(Told::ok(vector(&["0.5"]))).await;
    let query = r#"sum(rate(errors{app="${service}", version="${version}", ns='${namespace}'}[${window}]))"#;
    let mut asked = own(query);
    asked.version = r#"v"} or up{"#.to_owned();
    let told = reply(prometheus(&server.url), asked).await;
    let sent = field(&server.asked()[0].body, "query");
    assert_eq!(sent, r#"sum(rate(errors{app="web", version="v\x22\x7d\x20or\x20up\x7b", ns='shop'}[60s]))"#);
    assert_eq!(told.query, Some(sent));

    let told = fault(prometheus(&server.url), own("up{pod=\"${pod}\"}")).await;
    assert!(told.contains("${pod}") && told.contains("${version}, ${service}, ${namespace}, ${window} are"), "{told}");
    let mut asked = own("sum(up)");
    asked.baseline = Some("v1".to_owned());
    let told = fault(prometheus(&server.url), asked).await;
    assert!(told.contains("the same for every version"), "{told}");
    assert_eq!(server.asked().len(), 1, "what cannot be asked is not asked");
}

#[tokio::test]
async fn answers_are_taken_for_what_they_are() {
    let scalar = json!({"status": "success", "data": {"resultType": "scalar", "result": [1.5, "7"]}}).to_string();
    let matrix = json!({"status": "success", "data": {"resultType": "matrix", "result": []}}).to_string();
    for (answer, found) in [
        (vector(&["97.1"]), Ok(Some(97.1))),
        (scalar, Ok(Some(7.0))),
        (vector(&[]), Ok(None)),
        (vector(&["NaN"]), Ok(None)),
        (vector(&["+Inf"]), Err("infinite")),
        (vector(&["-Inf"]), Err("infinite")),
        (vector(&["1", "2"]), Err("comes to 2 numbers, and one is needed: aggregate it, as with sum(…)")),
        (matrix, Err("comes to a matrix, and one number is needed")),
        ("<html>login</html>".to_owned(), Err("answered what is no answer of Prometheus")),
        ("{}".to_owned(), Err("answered what is no answer of Prometheus")),
    ] {
        let server = Server::always(Told::ok(answer.clone())).await;
        let told = reading(prometheus(&server.url), own("x{v=\"${version}\"}")).await.map(|reading| reading.value);
        match (&told, &found) {
            (Err(told), Err(words)) => assert!(told.contains(words), "{answer}: {told}"),
            _ => assert_eq!(told.as_ref().ok(), found.as_ref().ok(), "{answer}: {told:?}"),
        }
    }
}

#[tokio::test]
async fn a_part_of_an_answer_is_none() {
    let no_store = "remote_read: 10.0.0.7:10901: connection refused";
    for (field, value, found) in [
        ("isPartial", json!(false), Ok(Some(97.1))),
        ("isPartial", json!(true), Err("with a part of its data only; see")),
        ("infos", json!(["PromQL info: metric might not be a counter"]), Ok(Some(97.1))),
        ("warnings", json!([]), Ok(Some(97.1))),
        ("warnings", json!(["PromQL warning: no bucket label", "3 more warning annotations omitted"]), Ok(Some(97.1))),
        ("warnings", json!(["PromQL warning: no bucket label", no_store]), Err(no_store)),
        ("warnings", json!([{"store": "gone"}]), Err(r#"with a part of its data only: {"store":"gone"}; see"#)),
    ] {
        let mut answer: Value = serde_json::from_str(&vector(&["97.1"])).unwrap();
        answer[field] = value;
        let server = Server::always(Told::ok(answer.to_string())).await;
        let told = reading(prometheus(&server.url), own("x{v=\"${version}\"}")).await.map(|reading| reading.value);
        match (&told, &found) {
            (Err(told), Err(words)) => assert!(told.contains(words), "{answer}: {told}"),
            _ => assert_eq!(told.as_ref().ok(), found.as_ref().ok(), "{answer}: {told:?}"),
        }
    }
    let mut answer: Value = serde_json::from_str(&vector(&[])).unwrap();
    answer["warnings"] = json!([format!("a store refuses {TOKEN}")]);
    let server = Server::always(Told::ok(answer.to_string())).await;
    let mut provider = prometheus(&server.url);
    provider["bearerTokenSecret"] = json!({"name": "keys", "key": "token"});
    let told = fault(provider, own("up")).await;
    let address = &server.url;
    assert_eq!(
        told,
        format!("{address} answered with a part of its data only: a store refuses ***; see how its stores do")
    );
}

#[tokio::test]
async fn whole_answers_are_asked_for_except_of_who_does_not_know_of_others() {
    let form = |asked: &Asked| ["partial_response", "deny_partial_response"].map(|name| field(&asked.body, name));
    let server = Server::always(Told::ok(vector(&["1"]))).await;
    assert_eq!(reading(prometheus(&server.url), own("up")).await.unwrap().value, Some(1.0));
    assert_eq!(server.asked().iter().map(form).collect::<Vec<_>>(), [["false", "1"]]);

    let server = Server::start(|asked| match field(&asked.body, "partial_response").as_str() {
        "" => Told::ok(vector(&["1"])),
        _ => Told::status(400, json!({"error": {"message": "Unknown name \"partial_response\""}}).to_string()),
    })
    .await;
    assert_eq!(reading(prometheus(&server.url), own("up")).await.unwrap().value, Some(1.0));
    assert_eq!(server.asked().iter().map(form).collect::<Vec<_>>(), [["false", "1"], ["", ""]]);
}

#[tokio::test]
async fn a_share_is_one_however_counters_were_read() {
    for (value, share) in [("-0.25", 0.0), ("100.5", 100.0), ("97", 97.0)] {
        let server = Server::always(Told::ok(vector(&[value]))).await;
        let found = reading(prometheus(&server.url), ready(MetricKind::SuccessRate)).await.unwrap();
        assert_eq!(found.value, Some(share));
    }
}

#[tokio::test]
async fn no_requests_are_counted_as_none() {
    for answer in [vector(&[]), vector(&["NaN"]), vector(&["0"])] {
        let server = Server::always(Told::ok(answer)).await;
        let asked = super::Measure { count: true, ..ready(MetricKind::LatencyP50) };
        assert_eq!(reading(prometheus(&server.url), asked).await.unwrap().requests, Some(0.0));
    }
}

#[tokio::test]
async fn its_own_words_are_told() {
    let body = json!({"status": "error", "errorType": "bad_data", "error": "parse error: unexpected }"}).to_string();
    let server = Server::always(Told::status(400, body)).await;
    let told = fault(prometheus(&server.url), own("up}")).await;
    assert_eq!(told, format!("{} answered 400: parse error: unexpected }}", server.url));
    assert_eq!(server.asked().len(), 1);
    let server = Server::always(Told::status(503, "")).await;
    assert!(fault(prometheus(&server.url), own("up")).await.ends_with("answered 503"));
}
