//! Sequences of edits, each made from a seed alone.

use std::fmt;

use devcluster::Dice;
use microservice_operator::{
    api::{Provider, Verb},
    offline::Checker,
};
use serde_json::{Value, json};

use crate::{
    corpus::Corpus,
    generator::{Breakage, Schema, breakages, by_image, by_versions, edges, edit, is_costly, never, tame},
};

/// The name of the Microservice, and the namespace that stands for whichever it is in.
pub const NAME: &str = "order-service";
pub const NAMESPACE: &str = "shop";

/// How far the service is left to come before the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Not,
    /// Until the status speaks of it.
    Seen,
    /// Until the spec is reached.
    Reached,
}

/// What must come of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Taken,
    /// The API server refuses it, and names this path.
    Refused(String),
    /// The operator refuses it, and names this path.
    Stalled(String),
}

/// What somebody does to somebody else's child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meddling {
    /// Takes away what the operator notes of what it applied.
    Forget,
    /// Changes a label of the operator.
    Relabel,
    /// Adds an annotation of their own.
    Annotate,
    /// Takes it from its owner, and marks it as one that may be adopted.
    Orphan,
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The spec is replaced.
    Write {
        about: String,
        manifest: Value,
        expected: Expected,
        wait: Wait,
    },
    /// The API server is only asked whether it would take it.
    Ask {
        about: String,
        manifest: Value,
        expected: Expected,
    },
    Act(Verb),
    Scale(i32),
    Meddle(Meddling, usize),
    /// The Microservice is deleted and made anew.
    Recreate {
        manifest: Value,
    },
}

/// A sequence of steps.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub steps: Vec<Step>,
}

/// What a sequence is made with.
struct Author<'a> {
    schema: &'a Schema,
    checker: &'a Checker,
    corpus: &'a Corpus,
    fields: Vec<&'a str>,
    dice: Dice,
    seed: usize,
    /// The last valid manifest, from which the next edit begins.
    valid: Value,
    set: usize,
}

impl Sequence {
    /// The same sequence for the same seed.
    pub fn of(seed: u64, schema: &Schema, checker: &Checker, corpus: &Corpus) -> Self {
        let mut dice = Dice::of(("edits", seed));
        let beginnings = edit::beginnings();
        let valid = edit::manifest(NAME, NAMESPACE, beginnings[dice.below(beginnings.len())].clone());
        let count = 3 + dice.below(6);
        let fields = schema.fields().filter(|path| *path != "spec").collect();
        let seed_ = usize::try_from(seed).unwrap();
        let mut author = Author { schema, checker, corpus, fields, dice, seed: seed_, valid, set: 0 };
        let mut steps = vec![author.write("the beginning".into(), author.valid.clone())];
        while steps.len() <= count {
            steps.extend(author.step());
        }
        Self { steps }
    }

    /// Without one of the steps.
    pub fn without(&self, index: usize) -> Self {
        let mut shorter = self.clone();
        shorter.steps.remove(index);
        shorter
    }

    /// The spec that it must come to.
    pub fn last(&self) -> Value {
        let mut last = Value::Null;
        for step in &self.steps {
            match step {
                Step::Write { manifest, expected: Expected::Taken, .. } => last = manifest.clone(),
                Step::Scale(replicas) => last["spec"]["replicas"] = (*replicas).into(),
                _ => {}
            }
        }
        last
    }
}

impl Author<'_> {
    fn pick(&mut self) -> String {
        self.fields[self.dice.below(self.fields.len())].to_owned()
    }

    fn wait(&mut self) -> Wait {
        [Wait::Not, Wait::Seen, Wait::Reached][self.dice.below(3)]
    }

    /// A write of whatever the checker says of it.
    fn write(&mut self, about: String, manifest: Value) -> Step {
        let expected = self.expected(&manifest);
        if expected == Expected::Taken {
            self.valid = manifest.clone();
        }
        let wait = if matches!(expected, Expected::Stalled(_)) { Wait::Seen } else { self.wait() };
        Step::Write { about, manifest, expected, wait }
    }

    fn expected(&self, manifest: &Value) -> Expected {
        let verdict = self.checker.check(manifest, Provider::Istio);
        match (verdict.refused.first(), verdict.stalled.first()) {
            (Some(problem), _) => Expected::Refused(problem.path.clone()),
            (None, Some(problem)) => Expected::Stalled(problem.path.clone()),
            (None, None) => Expected::Taken,
        }
    }

    fn step(&mut self) -> Option<Step> {
        match self.dice.below(100) {
            0..40 => self.set(),
            40..48 => self.edge(),
            48..58 => self.broken(),
            58..63 => self.of_corpus(true),
            63..68 => self.of_corpus(false),
            68..74 => self.unset(),
            74..90 => Some(self.service()),
            90..94 => {
                let verbs = [Verb::Promote, Verb::PromoteFull, Verb::Pause, Verb::Abort, Verb::Retry, Verb::Undo];
                Some(Step::Act(verbs[self.dice.below(verbs.len())]))
            }
            94..96 => {
                // Requests of a service without pods are lost, as somebody asked for.
                let replicas = i32::try_from(1 + self.dice.below(3)).unwrap();
                self.valid["spec"]["replicas"] = replicas.into();
                Some(Step::Scale(replicas))
            }
            96..98 => {
                let all = [Meddling::Forget, Meddling::Relabel, Meddling::Annotate, Meddling::Orphan];
                Some(Step::Meddle(all[self.dice.below(all.len())], self.dice.below(16)))
            }
            _ => Some(Step::Recreate { manifest: self.valid.clone() }),
        }
    }

    /// The next field in an order that meets all of them, one seed after the other.
    fn set(&mut self) -> Option<Step> {
        const STRIDE: usize = 619;
        let path = self.fields[((self.seed * 3 + self.set) * STRIDE) % self.fields.len()].to_owned();
        self.set += 1;
        let (manifest, placed) = edit::set(self.schema, self.checker, &self.valid, &path, &mut self.dice)?;
        Some(self.write(format!("{} is set", placed.path), manifest))
    }

    /// A field at the edge of what it may be. What would take too long, or too much, is only asked about.
    fn edge(&mut self) -> Option<Step> {
        let path = self.pick();
        let edges = edges(self.schema, &path);
        if edges.is_empty() {
            return None;
        }
        let edge = edges[self.dice.below(edges.len())].clone();
        let (manifest, placed) = edit::set_to(self.schema, &self.valid, &path, &edge, &mut self.dice);
        let about = format!("{} is at an edge", placed.path);
        if is_costly(&path) {
            return Some(Step::Ask { about, expected: self.expected(&manifest), manifest });
        }
        Some(self.write(about, manifest))
    }

    fn broken(&mut self) -> Option<Step> {
        let path = self.pick();
        let ways: Vec<Breakage> = breakages(self.schema, &path);
        if ways.is_empty() || never(&path) {
            return None;
        }
        let how = ways[self.dice.below(ways.len())].clone();
        let (manifest, wrong) = edit::broken(self.schema, &self.valid, &path, &how, &mut self.dice)?;
        let wait = self.wait();
        Some(Step::Write { about: format!("{path} {how}"), manifest, expected: Expected::Refused(wrong), wait })
    }

    fn of_corpus(&mut self, refused: bool) -> Option<Step> {
        let folder = if refused { &self.corpus.refused } else { &self.corpus.stalled };
        let (file, spec) = &folder[self.dice.below(folder.len())];
        let manifest = edit::manifest(NAME, NAMESPACE, spec.clone());
        // What depends on the name of the file's own Microservice is not wrong here.
        (self.expected(&manifest) != Expected::Taken).then(|| self.write(format!("the spec of {file}"), manifest))
    }

    fn unset(&mut self) -> Option<Step> {
        let given: Vec<String> = {
            let mut given = Default::default();
            crate::generator::given(&self.valid["spec"], "spec", self.schema, &mut given);
            given.into_iter().filter(|path| !["spec", "spec.drain", "spec.replicas"].contains(&path.as_str())).collect()
        };
        let path = given[self.dice.below(given.len())].clone();
        let manifest = edit::unset(self.checker, &self.valid, &path)?;
        Some(self.write(format!("{path} is removed"), manifest))
    }

    /// What services are for: weights, versions, images, providers.
    fn service(&mut self) -> Step {
        let mut manifest = self.valid.clone();
        let spec = &mut manifest["spec"];
        let roll = self.dice.below(8);
        let about = match roll {
            0 => {
                by_image(spec);
                "an image"
            }
            1 => {
                by_versions(spec);
                "versions"
            }
            2 => {
                let provider = ["Istio", "None"][self.dice.below(2)];
                if !spec["traffic"].is_object() {
                    spec["traffic"] = json!({});
                }
                spec["traffic"]["provider"] = provider.into();
                "the provider"
            }
            _ if spec.get("image").is_some() => {
                spec["image"] = format!("registry.example/order-service:{}", self.dice.below(3)).into();
                "the next image"
            }
            3 => {
                let name = format!("v{}", 1 + self.dice.below(4));
                let version =
                    json!({"name": name, "image": format!("registry.example/order-service:{}", self.dice.below(4))});
                let versions = spec["versions"].as_array_mut().unwrap();
                versions.retain(|it| it["name"] != *name);
                versions.insert(0, version);
                versions.truncate(4);
                "a version"
            }
            4 if spec["versions"].as_array().is_some_and(|all| all.len() > 1) => {
                let versions = spec["versions"].as_array_mut().unwrap();
                versions.remove(self.dice.below(versions.len()));
                "one version less"
            }
            _ => {
                for version in spec["versions"].as_array_mut().unwrap() {
                    version["weight"] = [0, 10, 50, 100][self.dice.below(4)].into();
                }
                "the weights"
            }
        };
        tame(spec);
        self.write(about.to_owned(), manifest)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            let yaml = |manifest: &Value| serde_yaml::to_string(manifest).unwrap_or_default();
            match step {
                Step::Write { about, manifest, expected, wait } => {
                    write!(f, "---\n# {number}: {about}; {expected:?}, then wait: {wait:?}\n{}", yaml(manifest))?;
                }
                Step::Ask { about, manifest, expected } => {
                    write!(f, "---\n# {number}: dry run: {about}; {expected:?}\n{}", yaml(manifest))?;
                }
                Step::Act(verb) => writeln!(f, "# {number}: a MicroserviceAction: {verb:?}")?,
                Step::Scale(replicas) => writeln!(f, "# {number}: kubectl scale --replicas {replicas}")?,
                Step::Meddle(how, index) => writeln!(f, "# {number}: {how:?} of child {index}")?,
                Step::Recreate { manifest } => write!(f, "---\n# {number}: deleted, and again\n{}", yaml(manifest))?,
            }
        }
        Ok(())
    }
}
