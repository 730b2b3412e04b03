//! Answering one inquiry: which provider it goes to, and whether it may.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    api::provider::{AnalysisProviderSpec, OwnQueries},
    observe::{Clock, Providers},
    plan::inquiry::{Asked, Call, Finding, Inquiry, Measure, Question, Reply, Verdict},
    telemetry::Metrics,
};

use super::{
    Error, admits,
    credentials::{Secrets, access},
    datadog::Datadog,
    http::Http,
    json::Json,
    prometheus::Prometheus,
    provider::{Measured, measure},
    slots::Slots,
    webhook::{Fault, Webhook, Webhooks},
};

/// Time before a webhook is called a second time.
const PAUSE: Duration = Duration::from_secs(1);
const DATADOG_SITE: &str = "datadoghq.com";

/// What all desks of the process share.
pub struct Office {
    http: Http,
    measurements: Slots,
    calls: Slots,
    news: Slots,
    providers: Arc<Providers>,
    secrets: Arc<dyn Secrets>,
    metrics: Arc<Metrics>,
    webhooks: Option<Arc<dyn Webhooks>>,
    /// Time before a webhook is called a second time.
    pause: Duration,
    clock: Clock,
}

impl Office {
    /// An office that knows these providers and takes their credentials from there.
    pub fn new(providers: Arc<Providers>, secrets: Arc<dyn Secrets>, metrics: Arc<Metrics>) -> Self {
        Self {
            http: Http::default(),
            measurements: Slots::default(),
            calls: Slots::default(),
            news: Slots::default(),
            providers,
            secrets,
            metrics,
            webhooks: None,
            pause: PAUSE,
            clock: Clock::default(),
        }
    }

    /// The same, with webhooks that can be called, the second time after this pause.
    pub fn with_webhooks(self, webhooks: Arc<dyn Webhooks>, pause: Option<Duration>) -> Self {
        Self { webhooks: Some(webhooks), pause: pause.unwrap_or(PAUSE), ..self }
    }

    /// The same, by this clock.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Asks, once there is a free slot. An error is a reply, too.
    pub async fn answer(&self, inquiry: &Inquiry) -> Reply {
        let _slot = match &inquiry.question {
            Question::Measure(asked) => self.measurements.one_of(&asked.provider, &asked.namespace).await,
            Question::Call(call) => self.calls.one_of(&call.webhook, &call.namespace).await,
        };
        let at = self.clock.now();
        let (query, finding) = match &inquiry.question {
            Question::Measure(asked) => {
                let Measured { query, reading } = self.measure(asked, at).await;
                (query, reading.map(Finding::Measured).map_err(|error| error.to_string()))
            }
            Question::Call(call) => {
                (None, self.call(call).await.map(Finding::Called).map_err(|fault| fault.to_string()))
            }
        };
        Reply { id: inquiry.id.clone(), at, finding, query }
    }

    /// Tells a webhook of an event, once there is a free slot: events never take those of calls that a rollout waits for.
    /// What comes of it is logged and counted, and nothing else.
    pub async fn tell(&self, call: &Call) {
        let _slot = self.news.one_of(&call.webhook, &call.namespace).await;
        match self.call(call).await {
            Ok(Verdict::Passed) => self.metrics.told("success"),
            Ok(Verdict::Refused(said)) => self.untold(call, "error", &format!("it was refused: {said}")),
            Err(fault) => self.untold(call, "error", &fault.to_string()),
        }
    }

    /// Counts an event that a webhook was not told of.
    pub(super) fn untold(&self, call: &Call, result: &'static str, why: &str) {
        let Call { webhook, namespace, service, event, .. } = call;
        let reason = event.as_ref().map(|event| event.reason).unwrap_or_default();
        tracing::warn!(webhook, microservice = %format!("{namespace}/{service}"), reason, "an event was not told: {why}");
        self.metrics.told(result);
    }

    async fn call(&self, call: &Call) -> Result<Verdict, Fault> {
        let unread = || Fault::Unseen { name: call.webhook.clone(), why: "none are read here".to_owned() };
        let spec = self.webhooks.as_ref().ok_or_else(unread)?.get(&call.webhook).await?;
        let webhook = Webhook::of(call, &spec, self.secrets.as_ref(), &self.http, self.pause).await?;
        webhook.call(call, &self.clock).await
    }

    async fn measure(&self, asked: &Measure, at: Timestamp) -> Measured {
        let found = self.providers.get(&asked.provider).await;
        let kind = found.as_ref().map_or("unknown", |spec| kind(spec));
        let measured = match found.map_err(Error::from).and_then(|spec| allowed(&spec, asked).map(|()| spec)) {
            Ok(spec) => self.ask(&spec, asked, at).await,
            Err(error) => Measured { query: None, reading: Err(error) },
        };
        let result = match &measured.reading {
            Ok(reading) if reading.value.is_some() => "success",
            Ok(_) => "no_data",
            Err(_) => "error",
        };
        self.metrics.inquired(kind, result);
        measured
    }

    async fn ask(&self, spec: &AnalysisProviderSpec, asked: &Measure, at: Timestamp) -> Measured {
        let http = &self.http;
        let access = match access(spec, self.secrets.as_ref()).await {
            Ok(access) => access,
            Err(error) => return Measured { query: None, reading: Err(error) },
        };
        if let Some(settings) = &spec.prometheus {
            let prometheus = Prometheus { http, url: &settings.url, stats: settings.stats, access };
            measure(&prometheus, asked, at).await
        } else if let Some(settings) = &spec.datadog {
            let site = settings.site.as_deref().unwrap_or(DATADOG_SITE);
            let url = settings.url.clone().unwrap_or_else(|| format!("https://api.{site}"));
            measure(&Datadog { http, url, access }, asked, at).await
        } else if let Some(settings) = &spec.http {
            measure(&Json { http, settings, access }, asked, at).await
        } else {
            Measured { query: None, reading: Err(Error::Nothing) }
        }
    }
}

/// The kind of a provider in metrics.
fn kind(spec: &AnalysisProviderSpec) -> &'static str {
    match (&spec.prometheus, &spec.datadog, &spec.http) {
        (Some(_), _, _) => "prometheus",
        (_, Some(_), _) => "datadog",
        (_, _, Some(_)) => "http",
        (None, None, None) => "unknown",
    }
}

fn allowed(spec: &AnalysisProviderSpec, asked: &Measure) -> Result<(), Error> {
    let name = || asked.provider.clone();
    if !admits(&spec.namespaces, &asked.namespace) {
        return Err(Error::OtherNamespaces { name: name(), namespace: asked.namespace.clone() });
    }
    if matches!(asked.metric, Asked::Query(_)) && spec.own_queries == OwnQueries::Deny {
        return Err(Error::OwnQueryDenied(name()));
    }
    Ok(())
}
