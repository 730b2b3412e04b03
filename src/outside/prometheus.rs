//! Prometheus, and what speaks its HTTP API.
//!
//! Counters are counted so that no answer is lost. A series appears with its first answer, and `rate` and `increase` begin
//! at its first scrape, so they miss the answers before: a version's first failures. So the value at the end of the
//! window less the value at its beginning is taken, where a series that was not there then began at 0; both values are
//! the last of a time, as one scrape that failed hides a series for a moment. A counter that began anew, with its proxy,
//! counts from there: all series of the proxy do, so that shares stay true.
//!
//! That a series was not there means that it began only if somebody looked. After Prometheus has lost what it had, or
//! has scraped nothing for minutes, the whole lives of counters would count as one window. So there is no data unless
//! the source was seen before the window: by a series of the service, of whatever version, or by an `up` of the job
//! that scrapes the version, as nobody may have called the service before. A few stores have no `up`: there, the first
//! answers of a service that nobody called before are no data. Of a store over several Prometheis it is not told when one of
//! them alone has lost what it had.

use jiff::Timestamp;
use reqwest::{Method, Url};
use serde_json::Value;

use crate::{
    api::{Duration, MetricKind, provider::Stats},
    plan::{
        inquiry::{Asked, Calls, Measure},
        resources::child_name,
    },
    validate::model::host,
};

use super::{
    Error,
    http::{self, Access, Answer, Http, Request},
    provider::Provider,
    query::{Escape, fill, words},
};

const PATH: &str = "/api/v1/query";
/// How far back a series' last value before the window is looked for, as Prometheus does.
const LOOK_BACK: Duration = Duration::from_secs(300);
/// In which all targets are scraped once: they take turns, and the interval is a minute by default.
const ROUND: Duration = Duration::from_secs(60);
/// In which a source must have been seen: [`LOOK_BACK`] less a [`ROUND`] at either end. So none of its targets was last
/// scraped before, nor has yet to be scraped.
const SEEN: Duration = Duration::from_secs(180);

/// Has Thanos and VictoriaMetrics refuse what they could answer in part only. Others know nothing of these fields.
const WHOLE: [(&str, &str); 2] = [("partial_response", "false"), ("deny_partial_response", "1")];
/// How warnings begin that are about the query alone.
const REMARK: &str = "PromQL ";
/// How the warning ends that stands for further ones of these.
const MORE_REMARKS: &str = " annotations omitted";

/// Statuses of gRPC that tell of the server's own failure, whose answers are HTTP 200: UNKNOWN, DEADLINE_EXCEEDED,
/// UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS, as OpenTelemetry's conventions have it.
const GRPC_FAILURES: &str = "2|4|12|13|14|15";

/// A Prometheus.
pub struct Prometheus<'a> {
    pub http: &'a Http,
    pub url: &'a str,
    pub stats: Stats,
    pub access: Access,
}

impl Provider for Prometheus<'_> {
    type Phrase = String;

    fn phrase(&self, measure: &Measure, version: &str) -> Result<String, Error> {
        let kind = match &measure.metric {
            Asked::Ready(kind) => *kind,
            Asked::Query(query) => {
                let words = words(measure, version, length(measure.window));
                return fill(query, &words, Escape::PromQl);
            }
        };
        let series = self.series(measure, version)?;
        Ok(match kind {
            MetricKind::SuccessRate if measure.calls == Calls::All && self.stats == Stats::Envoy => {
                return Err(Error::GrpcByEnvoy);
            }
            MetricKind::SuccessRate => {
                let failed = series.failed.iter().map(|failed| counted(failed, measure.window, ""));
                let failed = failed.map(|failed| format!("({failed} or vector(0))")).collect::<Vec<_>>().join(" + ");
                let failed = if series.failed.len() == 1 { failed } else { format!("({failed})") };
                format!("100 * (1 - {failed} / ({}))", series.requests(measure.window))
            }
            MetricKind::LatencyP50 => series.percentile("0.5", measure.window),
            MetricKind::LatencyP95 => series.percentile("0.95", measure.window),
            MetricKind::LatencyP99 => series.percentile("0.99", measure.window),
            MetricKind::Throughput => {
                format!("({}) / {}", series.requests(measure.window), measure.window.as_std().as_secs_f64())
            }
        })
    }

    fn count(&self, measure: &Measure) -> Result<String, Error> {
        Ok(self.series(measure, &measure.version)?.requests(measure.window))
    }

    async fn number(&self, phrase: &String, _: &Measure, at: Timestamp) -> Result<Option<f64>, Error> {
        let base = self.url.trim_end_matches('/');
        let url = Url::parse(&format!("{base}{PATH}")).map_err(|_| Error::Address)?;
        let mut answer = self.ask(&url, phrase, at, &WHOLE).await?;
        // Google's refuses what it does not know.
        if answer.status == 400 && names_a_field(&answer) {
            answer = self.ask(&url, phrase, at, &[]).await?;
        }
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        if !(200..300).contains(&answer.status) {
            let said = body.as_ref().and_then(|body| body.get("error")?.as_str());
            return Err(http::refused(&url, answer.status, said.unwrap_or_default(), &self.access));
        }
        if let Some(said) = body.as_ref().and_then(partial) {
            let said = http::added(&said, &self.access.clone().hiding(&url));
            return Err(Error::Partial { address: http::shown(&url), said });
        }
        let strange = || Error::Strange { address: http::shown(&url), expected: "answer of Prometheus" };
        let data = body.as_ref().and_then(|body| body.get("data")).ok_or_else(strange)?;
        let (kind, result) = (data.get("resultType").and_then(Value::as_str), data.get("result"));
        let sample = match (kind, result) {
            (Some("vector"), Some(Value::Array(series))) => match series.as_slice() {
                [] => return Ok(None),
                [one] => one.get("value"),
                many => return Err(Error::Many { count: many.len(), with: "sum(…)" }),
            },
            (Some("scalar"), Some(sample)) => Some(sample),
            (Some(kind), _) => return Err(Error::Kind { found: format!("a {}", http::excerpt(kind, &self.access)) }),
            _ => return Err(strange()),
        };
        let number = sample.and_then(|sample| sample.get(1)?.as_str()?.parse().ok());
        number.map(Some).ok_or_else(strange)
    }
}

/// Whether an answer speaks of a field of [`WHOLE`].
fn names_a_field(answer: &Answer) -> bool {
    let said = String::from_utf8_lossy(&answer.body);
    WHOLE.iter().any(|(field, _)| said.contains(field))
}

/// What a source says of what is missing in its answer; none if it says that nothing is.
fn partial(body: &Value) -> Option<String> {
    let text = |warning: &Value| warning.as_str().map_or_else(|| warning.to_string(), str::to_owned);
    let is_remark = |said: &String| said.starts_with(REMARK) || said.ends_with(MORE_REMARKS);
    let warnings = body.get("warnings").and_then(Value::as_array).into_iter().flatten().map(text);
    let said: Vec<String> = warnings.filter(|said| !is_remark(said)).collect();
    let is_partial = body.get("isPartial").and_then(Value::as_bool) == Some(true);
    (is_partial || !said.is_empty()).then(|| said.join("; "))
}

/// Selectors of the series of a version.
struct Series {
    all: String,
    /// All of these together.
    failed: Vec<String>,
    buckets: String,
    /// As `all`, of whatever version of the service.
    service: String,
}

impl Series {
    /// Requests of the window.
    fn requests(&self, window: Duration) -> String {
        self.if_seen(&counted(&self.all, window, ""), window)
    }

    /// In milliseconds, as the stats have it.
    fn percentile(&self, share: &str, window: Duration) -> String {
        format!("histogram_quantile({share}, {})", self.if_seen(&counted(&self.buckets, window, " by (le) "), window))
    }

    /// What is counted, where the source was seen before the window, and nothing otherwise.
    fn if_seen(&self, counted: &str, window: Duration) -> String {
        let Self { all, service, .. } = self;
        let (over, seen, before) = (length(window), length(SEEN), length(sum(window, ROUND)));
        format!(
            "{counted} and on () (last_over_time({service}[{seen}] offset {before}) or \
             max_over_time(up[{seen}] offset {before}) == 1 and on (job) last_over_time({all}[{over}]))"
        )
    }
}

impl Prometheus<'_> {
    async fn ask(&self, url: &Url, phrase: &str, at: Timestamp, more: &[(&str, &str)]) -> Result<Answer, Error> {
        let mut form = url.clone();
        let time = format!("{:.3}", at.as_duration().as_secs_f64());
        form.query_pairs_mut().clear().append_pair("query", phrase).append_pair("time", &time).extend_pairs(more);
        let request = Request {
            method: Method::POST,
            url: url.clone(),
            access: self.access.clone(),
            content_type: Some("application/x-www-form-urlencoded"),
            body: form.query().unwrap_or_default().to_owned(),
        };
        self.http.send(request).await
    }

    fn series(&self, measure: &Measure, version: &str) -> Result<Series, Error> {
        let (all, failed, buckets, of_version, of_service) = match self.stats {
            Stats::Envoy => (
                "envoy_cluster_upstream_rq_completed",
                ("envoy_cluster_upstream_rq", vec!["response_code_class=\"5xx\"".to_owned()]),
                "envoy_cluster_upstream_rq_time_bucket",
                cluster(measure, version)?,
                clusters(measure)?,
            ),
            Stats::Istio => (
                "istio_requests_total",
                ("istio_requests_total", failures(measure.calls != Calls::None)),
                "istio_request_duration_milliseconds_bucket",
                workload(measure, version)?,
                service(measure)?,
            ),
        };
        Ok(Series {
            all: format!("{all}{{{of_version}}}"),
            failed: failed.1.iter().map(|which| format!("{}{{{of_version},{which}}}", failed.0)).collect(),
            buckets: format!("{buckets}{{{of_version}}}"),
            service: format!("{all}{{{of_service}}}"),
        })
    }
}

/// Which requests failed by Istio's labels: by their status, or by that of their gRPC call.
fn failures(grpc: bool) -> Vec<String> {
    let calls = format!("response_code!~\"5..\",grpc_response_status=~\"{GRPC_FAILURES}\"");
    let all = [Some("response_code=~\"5..\"".to_owned()), Some(calls).filter(|_| grpc)];
    all.into_iter().flatten().collect()
}

/// Each client's Envoy counts a version as a cluster of its own for each port.
fn cluster(measure: &Measure, version: &str) -> Result<String, Error> {
    let host = host(&measure.service, &measure.namespace);
    let words = [("version", version.to_owned()), ("host", host)];
    match measure.ports.as_slice() {
        [] => Err(Error::NoPorts),
        [port] => fill(&format!("cluster_name=\"outbound|{port}|${{version}}|${{host}}\""), &words, Escape::PromQl),
        ports => {
            let template = format!("cluster_name=~\"outbound[|]({})[|]${{version}}[|]${{host}}\"", any(ports));
            fill(&template, &words, Escape::PromQlRegex)
        }
    }
}

/// The clusters of all versions, and that of the whole service.
fn clusters(measure: &Measure) -> Result<String, Error> {
    let host = host(&measure.service, &measure.namespace);
    let template = format!("cluster_name=~\"outbound[|]({})[|][^|]*[|]${{host}}\"", any(&measure.ports));
    fill(&template, &[("host", host)], Escape::PromQlRegex)
}

/// Any of some ports, as a regular expression.
fn any(ports: &[i32]) -> String {
    ports.iter().map(i32::to_string).collect::<Vec<_>>().join("|")
}

/// As its clients' proxies saw it: what no pod answered is counted as well as they know whose it was.
fn workload(measure: &Measure, version: &str) -> Result<String, Error> {
    let template = "reporter=~\"source|waypoint\",destination_workload_namespace=\"${namespace}\",\
                    destination_workload=\"${workload}\"";
    let workload = child_name(&measure.service, version);
    fill(template, &[("namespace", measure.namespace.clone()), ("workload", workload)], Escape::PromQl)
}

/// All that was asked of the service, whoever answered.
fn service(measure: &Measure) -> Result<String, Error> {
    let template = "reporter=~\"source|waypoint\",destination_service_namespace=\"${namespace}\",\
                    destination_service_name=\"${service}\"";
    let words = [("namespace", measure.namespace.clone()), ("service", measure.service.clone())];
    fill(template, &words, Escape::PromQl)
}

/// How far the counters of a selector went up over the window, in all; `by` says what is kept apart.
fn counted(selector: &str, window: Duration, by: &str) -> String {
    let (over, back, both) = (length(window), length(LOOK_BACK), length(sum(window, LOOK_BACK)));
    let last = format!("last_over_time({selector}[{over}])");
    let before = format!("last_over_time({selector}[{back}] offset {over})");
    format!("sum{by}({last} - ({before} unless resets({selector}[{both}]) > 0) or {last})")
}

fn sum(one: Duration, other: Duration) -> Duration {
    Duration::from_millis(millis(one).saturating_add(millis(other)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_std().as_millis()).unwrap_or(u64::MAX)
}

/// As every version of PromQL reads it: with one unit.
fn length(duration: Duration) -> String {
    let millis = millis(duration);
    if millis.is_multiple_of(1_000) { format!("{}s", millis / 1_000) } else { format!("{millis}ms") }
}
