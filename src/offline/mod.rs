//! What the API server and the operator would say of a manifest, without either of them. Pure.
//!
//! The API server's part is done as it does it with strict field validation: defaults, the structural schema of the
//! CRD, lists with keys, unknown fields, then the CEL rules, which see the rest without the unknown fields. The operator's part is [`validate`](crate::validate).

mod metadata;
mod pattern;
mod rules;
mod structure;
mod unknown;

use serde_json::Value;

use crate::{
    api::{Microservice, Provider, schema},
    validate::{Problem, Validated, checks, resolve},
};

pub use metadata::{is_meant, is_of_cluster, name_of, object_of};
pub use unknown::nearest;

/// Checks manifests against the CRDs of this build.
#[derive(Debug)]
pub struct Checker {
    microservices: Definition,
    of_cluster: [Definition; 2],
}

/// What the API server asks of one kind.
#[derive(Debug)]
struct Definition {
    kind: &'static str,
    schema: Value,
    rules: rules::Rules,
}

/// What would become of a manifest.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Why the API server refuses it.
    pub refused: Vec<Problem>,
    /// Why the operator would report it as `Stalled`. Empty, too, while it is too broken to look at.
    pub stalled: Vec<Problem>,
    /// The manifest with its defaults, and with its inheritance resolved, unless it is too broken for that.
    pub read: Option<(Microservice, Validated)>,
}

impl Verdict {
    /// Everything that is wrong, the API server's part first.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.refused.iter().chain(&self.stalled)
    }
}

impl Checker {
    /// Prepares the schema and its rules, once for any number of manifests.
    ///
    /// # Errors
    /// When the generated CRD is not one, which a test excludes.
    pub fn new() -> Result<Self, serde_json::Error> {
        let microservices = Definition::new(metadata::KIND, schema::open_api_schema()?);
        let providers = Definition::new(metadata::PROVIDER, schema::provider_schema()?);
        let webhooks = Definition::new(metadata::WEBHOOK, schema::webhook_schema()?);
        Ok(Self { microservices, of_cluster: [providers, webhooks] })
    }

    /// Checks one manifest; `provider` carries the traffic of a Microservice that does not say.
    pub fn check(&self, manifest: &Value, provider: Provider) -> Verdict {
        let kind = metadata::kind_of(manifest);
        if let Some(definition) = self.of_cluster.iter().find(|it| kind == Some(it.kind)) {
            return Verdict { refused: definition.check(manifest).0, ..Verdict::default() };
        }
        if let Some(problem) = metadata::other_kind(manifest) {
            return Verdict { refused: vec![problem], ..Verdict::default() };
        }
        let (refused, whole) = self.microservices.check(manifest);
        let Some(manifest) = whole else { return Verdict { refused, ..Verdict::default() } };
        match serde_json::from_value::<Microservice>(manifest) {
            Ok(microservice) => {
                let resolved = resolve::resolve(&microservice, provider);
                let stalled = checks::run(&microservice.spec, &resolved);
                Verdict { refused, stalled, read: Some((microservice, resolved)) }
            }
            Err(error) => {
                let problem = Problem::new("spec", format!("the operator cannot read it: {error}"));
                Verdict { refused, stalled: vec![problem], read: None }
            }
        }
    }
}

impl Definition {
    fn new(kind: &'static str, schema: Value) -> Self {
        Self { kind, rules: rules::Rules::new(&schema), schema }
    }

    /// Why the API server refuses a manifest; and the manifest as it would store it, unless it is too broken for that.
    fn check(&self, manifest: &Value) -> (Vec<Problem>, Option<Value>) {
        let mut refused = metadata::check(manifest, self.kind);
        let mut manifest = structure::stored(&self.schema, manifest);
        metadata::give_name(&mut manifest);
        let unknown = unknown::prune(&self.schema, &mut manifest);
        let structure = structure::check(&self.schema, &manifest);
        let whole = structure.is_empty();
        refused.extend(structure.into_iter().chain(unknown));
        if !whole {
            return (refused, None);
        }
        refused.extend(self.rules.check(&manifest));
        (refused, Some(manifest))
    }
}
