//! The cluster that is asked, and what its refusals mean.

use std::{error::Error as _, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::ControllerRevision,
        authentication::v1::SelfSubjectReview,
        core::v1::{Event, Pod},
    },
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{ListParams, PostParams},
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
    core::Status,
};
use serde::de::DeserializeOwned;

use crate::{
    api::{Microservice, MicroserviceAction, labels},
    kubeconfig::{self, configured, proxy},
    observe::Clock,
};

use super::{Error, cli::GlobalArgs};

pub const MICROSERVICES: &str = "microservices.microservice-operator.dev";
pub const ACTIONS: &str = "microserviceactions.microservice-operator.dev";
pub const REVISIONS: &str = "controllerrevisions.apps";
pub const PODS: &str = "pods";
pub const EVENTS: &str = "events";

/// How long a cluster may take to be reached.
const CONNECT: Duration = Duration::from_secs(10);

/// The cluster, and the namespace that is meant.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    pub clock: Clock,
    pub namespace: String,
    pub server: String,
    /// The proxy on the way to the server, without credentials.
    proxy: Option<String>,
    /// What a command needs beside the namespace to mean the same cluster, each option after a space.
    options: String,
}

impl Cluster {
    /// Makes the client that the arguments ask for. Nothing is asked yet.
    ///
    /// # Errors
    /// When no kubeconfig says where the cluster is, or the proxy on the way to it cannot be used.
    pub async fn connect(args: &GlobalArgs) -> Result<Self, Error> {
        let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match &args.kubeconfig {
            Some(path) => configured(Kubeconfig::read_from(path).map_err(kubeconfig::Error::from)?, &options).await?,
            None => match kubeconfig::read() {
                Ok(found) => configured(found, &options).await?,
                // A context is one of a kubeconfig, and whoever names it does not mean the cluster that this runs in.
                Err(missing) if args.context.is_none() && kubeconfig::is_absent(&missing) => {
                    Config::incluster().map_err(|outside| Error::NoCluster(missing, outside))?
                }
                Err(error) => return Err(kubeconfig::Error::from(error).into()),
            },
        };
        config.connect_timeout = Some(CONNECT);
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let proxy = config.proxy_url.as_ref().map(proxy::shown);
        let clock = Clock::default();
        let client = ClientBuilder::try_from(config).map_err(Error::Client)?.with_layer(&clock.layer()).build();
        let options = options_of(args);
        Ok(Self { options, client, clock, namespace, server: server.trim_end_matches('/').to_owned(), proxy })
    }

    /// The server, and the proxy on the way to it.
    pub fn way(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!("{} (through the proxy {proxy})", self.server),
            None => self.server.clone(),
        }
    }

    /// What a command about this namespace needs to reach it.
    pub fn scope_options(&self) -> String {
        format!("--namespace {}{}", self.namespace, self.options)
    }

    /// The API of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The API of a kind in the namespace, or in all.
    pub fn scope<K>(&self, all: bool) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        if all { Api::all(self.client.clone()) } else { self.api() }
    }

    /// A Microservice.
    ///
    /// # Errors
    /// When there is none of the name, with the names that come nearest.
    pub async fn microservice(&self, name: &str) -> Result<Microservice, Error> {
        match self.api::<Microservice>().get(name).await {
            Ok(microservice) => Ok(microservice),
            Err(kube::Error::Api(status)) if is_absent(&status) => Err(self.absent(name).await),
            Err(error) => Err(self.failed("get", MICROSERVICES, false, error)),
        }
    }

    /// The error of a name that is not there.
    pub async fn absent(&self, name: &str) -> Error {
        let names = self.names().await.unwrap_or_default();
        Error::NotFound { namespace: self.namespace.clone(), name: name.to_owned(), near: nearest(name, &names) }
    }

    /// The names of all Microservices in the namespace.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn names(&self) -> Result<Vec<String>, Error> {
        Ok(self.microservices(false).await?.iter().map(ResourceExt::name_any).collect())
    }

    /// The Microservices of the namespace, or of all.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn microservices(&self, all: bool) -> Result<Vec<Microservice>, Error> {
        self.list(MICROSERVICES, all, &ListParams::default()).await
    }

    /// The pods of one Microservice, or of all of them.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn pods(&self, all: bool, of: Option<&str>) -> Result<Vec<Pod>, Error> {
        self.list(PODS, all, &ListParams::default().labels(&pods_of(of))).await
    }

    /// The events of the namespace that a field selector leaves; none, with a warning, for who may not list them.
    ///
    /// # Errors
    /// When they cannot be listed for another reason.
    pub async fn events(&self, fields: &str) -> Result<Vec<Event>, Error> {
        match self.list(EVENTS, false, &ListParams::default().fields(fields)).await {
            Err(error @ Error::Forbidden { .. }) => {
                eprintln!("warning: events are left out: {error}");
                Ok(Vec::new())
            }
            events => events,
        }
    }

    /// What was asked of the namespace's Microservices.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub async fn actions(&self) -> Result<Vec<MicroserviceAction>, Error> {
        self.list(ACTIONS, false, &ListParams::default()).await
    }

    /// The accepted specs of a Microservice that are kept.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn revisions(&self, of: &str) -> Result<Vec<ControllerRevision>, Error> {
        self.list(REVISIONS, false, &ListParams::default().labels(&pods_of(Some(of)))).await
    }

    async fn list<K>(&self, resource: &'static str, all: bool, params: &ListParams) -> Result<Vec<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let list = self.scope::<K>(all).list(params).await;
        list.map(|list| list.items).map_err(|error| self.failed("list", resource, all, error))
    }

    /// Who this is, as the cluster sees it.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn user(&self) -> Result<Option<String>, Error> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
        let review =
            review.map_err(|error| self.failed("create", "selfsubjectreviews.authentication.k8s.io", true, error))?;
        Ok(review.status.and_then(|status| status.user_info).and_then(|user| user.username))
    }

    /// What a refusal of the cluster means, given what was asked of it.
    pub fn failed(&self, verb: &'static str, resource: &'static str, all: bool, error: kube::Error) -> Error {
        let server = || self.server.clone();
        match error {
            kube::Error::Api(status) if status.code == 401 => Error::Unauthorized { server: server() },
            kube::Error::Api(status) if status.code == 403 && !by_admission(&status) => {
                let place = if all { "in all namespaces".to_owned() } else { format!("in {}", self.namespace) };
                let namespace = (!all).then(|| self.namespace.clone());
                Error::Forbidden { verb, resource, place: format!(" {place}"), namespace, message: status.message }
            }
            kube::Error::Api(status) if status.code == 404 && !is_absent(&status) => {
                Error::NotInstalled { server: server(), resource }
            }
            kube::Error::Api(status) => Error::Refused { verb, resource, message: status.message },
            error @ (kube::Error::Service(_) | kube::Error::HyperError(_)) => {
                Error::Unreachable { server: self.way(), cause: innermost(&error) }
            }
            error => Error::Api { verb, resource, source: error },
        }
    }
}

/// The options of a command line that say which cluster is meant, as a shell takes them.
fn options_of(args: &GlobalArgs) -> String {
    let kubeconfig = args.kubeconfig.as_ref().map(|path| ("kubeconfig", path.display().to_string()));
    let context = args.context.clone().map(|name| ("context", name));
    let given = kubeconfig.into_iter().chain(context);
    given.map(|(option, value)| format!(" --{option} {}", quoted(&value))).collect()
}

fn quoted(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./:@%+=,".contains(it);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Label selector of the pods of one Microservice, or of all of them.
pub fn pods_of(name: Option<&str>) -> String {
    name.map_or_else(|| labels::SERVICE.to_owned(), |name| format!("{}={name}", labels::SERVICE))
}

/// The object is absent, and not its kind.
pub fn is_absent(status: &Status) -> bool {
    let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
    status.code == 404 && status.reason == "NotFound" && named
}

/// Quotas and policies refuse with the same code as missing rights do.
fn by_admission(status: &Status) -> bool {
    !status.message.contains(" cannot ")
}

fn innermost(error: &kube::Error) -> String {
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        cause = error.to_string();
        source = error.source();
    }
    cause
}

/// The names that come near to one that is not there, the nearest first.
pub fn nearest(name: &str, names: &[String]) -> Vec<String> {
    let mut near: Vec<(f64, &String)> = names
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(similarity, other)| *similarity > 0.75 || other.contains(name))
        .collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_about_the_cluster_that_was_asked() {
        let args = |kubeconfig: Option<&str>, context: Option<&str>| GlobalArgs {
            namespace: Some("shop".to_owned()),
            context: context.map(str::to_owned),
            kubeconfig: kubeconfig.map(Into::into),
            output: None,
        };
        assert_eq!(options_of(&args(None, None)), "");
        assert_eq!(
            options_of(&args(Some("/home/mia/my clusters"), Some("arn:aws:eks:eu-1:1:cluster/a"))),
            " --kubeconfig '/home/mia/my clusters' --context arn:aws:eks:eu-1:1:cluster/a"
        );
        assert_eq!(options_of(&args(None, Some("it's; b"))), r" --context 'it'\''s; b'");
    }

    #[test]
    fn the_nearest_names_are_offered() {
        let names = ["other-service", "user-service", "payments", "order-service"].map(str::to_owned);
        assert_eq!(nearest("ordr-service", &names), ["order-service", "other-service"]);
        assert_eq!(nearest("ser-se", &names), ["user-service"], "what is part of a name counts too");
        assert_eq!(nearest("zzz", &names), Vec::<String>::new());
    }
}
