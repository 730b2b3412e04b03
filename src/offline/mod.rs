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

pub use metadata::{is_provider, name_of};

/// Checks manifests against the CRDs of this build.
#[derive(Debug)]
pub struct Checker {
    schema: Value,
    rules: rules::Rules,
    providers: Providers,
}

/// Checks AnalysisProviders.
#[derive(Debug)]
struct Providers {
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
        let schema = schema::open_api_schema()?;
        let rules = rules::Rules::new(&schema);
        let of_providers = schema::provider_schema()?;
        let providers = Providers { rules: rules::Rules::new(&of_providers), schema: of_providers };
        Ok(Self { schema, rules, providers })
    }

    /// Checks one manifest; `provider` carries the traffic of a Microservice that does not say.
    pub fn check(&self, manifest: &Value, provider: Provider) -> Verdict {
        if is_provider(manifest) {
            return Verdict { refused: self.providers.check(manifest), ..Verdict::default() };
        }
        if let Some(problem) = metadata::other_kind(manifest) {
            return Verdict { refused: vec![problem], ..Verdict::default() };
        }
        let mut refused = metadata::check(manifest, metadata::KIND);
        let mut manifest = structure::stored(&self.schema, manifest);
        metadata::give_name(&mut manifest);
        let unknown = unknown::prune(&self.schema, &mut manifest);
        let structure = structure::check(&self.schema, &manifest);
        let whole = structure.is_empty();
        refused.extend(structure.into_iter().chain(unknown));
        if !whole {
            return Verdict { refused, ..Verdict::default() };
        }
        refused.extend(self.rules.check(&manifest));
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

impl Providers {
    /// Why the API server refuses it.
    fn check(&self, manifest: &Value) -> Vec<Problem> {
        let mut refused = metadata::check(manifest, metadata::PROVIDER);
        let mut manifest = structure::stored(&self.schema, manifest);
        metadata::give_name(&mut manifest);
        let unknown = unknown::prune(&self.schema, &mut manifest);
        let structure = structure::check(&self.schema, &manifest);
        let whole = structure.is_empty();
        refused.extend(structure.into_iter().chain(unknown));
        if whole {
            refused.extend(self.rules.check(&manifest));
        }
        refused
    }
}
