//! What the operator asks outside of the cluster's API.

use std::{fmt::Debug, sync::Arc};

use axum::{Router, extract::State, http::Uri, response::IntoResponse};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams},
    core::ClusterResourceScope,
};
use microservice_operator::api::{AnalysisProvider, RolloutWebhook};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{RUNTIME, Space, eventually};

/// Where webhooks are called; all else is a query of PromQL.
pub const HOOK: &str = "/hook";

type Answer = dyn Fn(&Uri, &str) -> Value + Send + Sync;

/// A Prometheus, which is also a webhook, with the objects that name it, which have one name. They are deleted with it.
pub struct Outside {
    name: String,
    client: Client,
    pub port: u16,
    answer: Arc<Answer>,
    serving: Option<JoinHandle<()>>,
}

impl Outside {
    /// Serves the services of a namespace.
    pub async fn of(space: &Space, answer: impl Fn(&Uri, &str) -> Value + Send + Sync + 'static) -> Self {
        let of = json!({"namespaces": [space.name]});
        Self::named(&space.name, space.client.clone(), (&of, &of), answer).await
    }

    /// Serves all services, which may have queries of their own.
    pub async fn for_all(
        name: &str,
        client: Client,
        answer: impl Fn(&Uri, &str) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self::named(name, client, (&json!({"ownQueries": "Allow"}), &json!({})), answer).await
    }

    async fn named(
        name: &str,
        client: Client,
        (provider, webhook): (&Value, &Value),
        answer: impl Fn(&Uri, &str) -> Value + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut outside = Self { name: name.to_owned(), client, port, answer: Arc::new(answer), serving: None };
        outside.serve(listener);
        let url = format!("http://127.0.0.1:{port}");
        let mut provider = provider.clone();
        provider["prometheus"] = json!({"url": url, "stats": "Istio"});
        let mut webhook = webhook.clone();
        (webhook["url"], webhook["allowHttp"]) = (json!(format!("{url}{HOOK}")), json!(true));
        outside.puts::<AnalysisProvider>(provider).await;
        outside.puts::<RolloutWebhook>(webhook).await;
        outside
    }

    async fn puts<K>(&self, spec: Value)
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let object = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": self.name},
                            "spec": spec});
        let api: Api<K> = Api::all(self.client.clone());
        api.patch(&self.name, &PatchParams::apply("outside").force(), &Patch::Apply(&object)).await.unwrap();
    }

    fn serve(&mut self, listener: TcpListener) {
        let answer = async |State(answer): State<Arc<Answer>>, uri: Uri, body: String| {
            // A connection that stays open would outlive the server.
            ([("connection", "close")], answer(&uri, &body).to_string()).into_response()
        };
        let router = Router::new().fallback(answer).with_state(self.answer.clone());
        self.serving = Some(RUNTIME.spawn(async move { axum::serve(listener, router).await.unwrap() }));
    }

    pub async fn goes(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.abort();
        let _ended = serving.await;
    }

    pub async fn comes_back(&mut self) {
        let listener = eventually(|| async { TcpListener::bind(("127.0.0.1", self.port)).await.ok() }).await;
        self.serve(listener.expect("the port is free again"));
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
        let (client, name) = (self.client.clone(), self.name.clone());
        RUNTIME.spawn(async move {
            let _gone = Api::<AnalysisProvider>::all(client.clone()).delete(&name, &DeleteParams::default()).await;
            let _gone = Api::<RolloutWebhook>::all(client).delete(&name, &DeleteParams::default()).await;
        });
    }
}

/// The query of PromQL that was posted.
pub fn query_of(body: &str) -> String {
    let form = reqwest::Url::parse(&format!("http://form/?{body}")).unwrap();
    let query = form.query_pairs().find(|(key, _)| key == "query").map(|(_, query)| query.into_owned());
    query.unwrap()
}

/// One number, as Prometheus answers it.
pub fn number(value: f64) -> Value {
    let result = json!([{"metric": {}, "value": [1.5, value.to_string()]}]);
    json!({"status": "success", "data": {"resultType": "vector", "result": result}})
}
