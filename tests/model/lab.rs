//! What stays the same in all states: the specs that somebody may ask for, and the operator's settings.

use jiff::SignedDuration;
use microservice_operator::{
    api::{Microservice, MicroserviceSpec, Provider},
    plan::{Settings, resources::Stamp},
    validate::{Validated, validate},
};

/// Versions with weights; a name with `'` is the same version with another image, `*3` are so many replicas, and `@None` is a service
/// without a mesh.
const SPECS: [&str; 7] = ["v1=100", "v2=100", "v1=0 v2=100", "v1=50 v2=50", "v3=100", "v1=0 v2'=100", "v1'=100"];
/// What a limit of pods makes a difference for.
const SIZED: [&str; 3] = ["v1=40 v2=30 v3=30", "v1=0 v2=100 *4", "v1=100 v2=0 *1"];
/// What may be asked for with and without a mesh.
const CROSSING: [&str; 8] = [
    "v1=100",
    "v2=100",
    "v1=0 v2=100",
    "v1=50 v2=50",
    "v1=0 v2'=100",
    "v1=100 @None",
    "v1=0 v2=100 @None",
    "v1=50 v2=50 @None",
];
pub const PROPAGATION: SignedDuration = SignedDuration::from_secs(5);
pub const DRAIN: SignedDuration = SignedDuration::from_secs(30);

pub struct Spec {
    pub name: &'static str,
    pub spec: MicroserviceSpec,
    pub service: Validated,
}

pub struct Lab {
    pub specs: Vec<Spec>,
    pub settings: Settings,
}

impl Lab {
    /// `policy` is the YAML of the rollout policy; empty for none.
    pub fn new(policy: &str) -> Self {
        Self {
            specs: SPECS.into_iter().map(|name| spec(name, 2, policy)).collect(),
            settings: Settings {
                provider: Provider::Istio,
                propagation: PROPAGATION,
                stamp: Stamp { operator_version: "test".into(), chart: None },
            },
        }
    }

    /// One whose policy limits the pods of a rollout.
    pub fn limited(policy: &str) -> Self {
        let specs = SPECS.into_iter().chain(SIZED).map(|name| spec(name, 3, policy)).collect();
        Self { specs, ..Self::new(policy) }
    }

    /// One whose services may change their provider.
    pub fn crossing(policy: &str) -> Self {
        Self { specs: CROSSING.into_iter().map(|name| spec(name, 2, policy)).collect(), ..Self::new(policy) }
    }

    /// The number of a spec.
    pub fn number(&self, name: &str) -> usize {
        self.specs.iter().position(|spec| spec.name == name).unwrap_or_else(|| panic!("no spec {name}"))
    }
}

fn spec(name: &'static str, replicas: i32, policy: &str) -> Spec {
    let usual = replicas.to_string();
    let (versions, provider) = name.split_once(" @").unwrap_or((name, "Istio"));
    let (versions, replicas) = versions.split_once('*').unwrap_or((versions, &usual));
    let version = |pair: &str| {
        let (version, weight) = pair.split_once('=').unwrap();
        let image = version.replace('\'', "-mended");
        format!("{{name: {}, image: 'x:{image}', weight: {weight}}}", version.trim_end_matches('\''))
    };
    let versions: Vec<String> = versions.split_whitespace().map(version).collect();
    let versions = versions.join(", ");
    let rollout = if policy.is_empty() { String::new() } else { format!(", rollout: {policy}") };
    let yaml = format!(
        "{{ports: [{{name: http, port: 80}}], traffic: {{provider: {provider}}}, replicas: {replicas}, \
         versions: [{versions}]{rollout}}}"
    );
    let spec: MicroserviceSpec = serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    let mut microservice = Microservice::new("s", spec.clone());
    microservice.metadata.namespace = Some("shop".into());
    microservice.metadata.uid = Some("uid-1".into());
    microservice.metadata.generation = Some(1);
    let service = validate(&microservice, Provider::Istio).unwrap_or_else(|invalid| panic!("{invalid}\n{yaml}"));
    Spec { name, spec, service }
}
