//! Reading manifests: files, directories and standard input, YAML or JSON, several documents and lists.
//!
//! Tells the operator's own API group from everything else and says where each was found. Looks at nothing inside them.

mod files;

use std::{
    cell::LazyCell,
    fmt,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serde_yaml::{DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Spanned};
use thiserror::Error;

use crate::{api::GROUP, offline::is_meant};

/// Most bytes that one file may have; the API server takes no object of more than a tenth of it.
const MAX_BYTES: usize = 16 << 20;

/// Kinds of lists that may have manifests of this operator.
const LISTS: [&str; 2] = ["List", "MicroserviceList"];

/// Where a manifest was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// Path as given or found, or `<stdin>`.
    pub file: String,
    /// Number of the document in the file, from 1; empty documents do not count. 0 for the file as a whole.
    pub document: usize,
    /// Line on which the document begins, from 1, or that of the fault when it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Number of the item, from 1, when the document is a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<usize>,
}

impl Origin {
    /// A file as a whole.
    fn file(name: impl fmt::Display) -> Self {
        Self { file: name.to_string(), document: 0, line: None, item: None }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match (self.line, self.document) {
            (Some(line), _) => write!(f, ":{line}")?,
            (None, 0) => {}
            (None, document) => write!(f, "#{document}")?,
        }
        self.item.map_or(Ok(()), |item| write!(f, "[{item}]"))
    }
}

/// A manifest of the operator's API group, or one that was meant to be, as it was written. Whether its kind and version
/// exist is for others to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub origin: Origin,
    pub value: Value,
}

impl Document {
    /// The manifest, in a namespace when it names none.
    pub fn in_namespace(&self, namespace: &str) -> Value {
        let mut manifest = self.value.clone();
        let Some(root) = manifest.as_object_mut() else { return manifest };
        let metadata = root.entry("metadata").or_insert_with(|| json!({}));
        if metadata.is_null() {
            *metadata = json!({});
        }
        if let Some(metadata) = metadata.as_object_mut()
            && metadata.get("namespace").is_none_or(|value| value.is_null() || value == "")
        {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        manifest
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Input {
    pub documents: Vec<Document>,
    /// Manifests of other groups, which nobody looked at.
    pub passed_over: usize,
    /// What could not be read. The rest is complete all the same.
    pub errors: Vec<InputError>,
}

/// Something that could not be read.
#[derive(Debug, Error)]
#[error("{origin}: {fault}")]
pub struct InputError {
    pub origin: Origin,
    #[source]
    pub fault: Fault,
}

/// Why something could not be read.
#[derive(Debug, Error)]
pub enum Fault {
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    #[error("not valid YAML: {}", one_line(.0))]
    Syntax(Box<serde_yaml::Error>),
    #[error("not a manifest: a mapping with apiVersion and kind is expected")]
    NotAManifest,
    #[error("no files named *.yaml, *.yml or *.json in this directory")]
    EmptyDirectory,
}

/// A YAML error without the lines that show the place, and without what only a program could set.
fn one_line(error: &serde_yaml::Error) -> String {
    let error = error.without_snippet();
    if let serde_yaml::Error::NonFiniteFloat { value, .. } = error {
        return format!("{value} reads as a number beyond all: put it in quotes");
    }
    let told = error.to_string();
    let line = told.lines().next().unwrap_or_default();
    line.split(", set DuplicateKeyPolicy").next().unwrap_or_default().to_owned()
}

/// How YAML is read: as kubectl does, so that 0644 is octal.
fn options(duplicates: DuplicateKeyPolicy, not_finite: NonFiniteFloatPolicy) -> serde_yaml::Options {
    serde_yaml::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        duplicate_keys: duplicates,
        non_finite_float_policy: not_finite,
        // What a file of the greatest size can hold: a list may have every service of a cluster.
        budget: serde_yaml::budget! { max_nodes: MAX_BYTES, max_events: MAX_BYTES },
    }
}

/// What tells whose a manifest is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
}

/// Whether a manifest may be a list that has some of this operator's.
fn is_list(api_version: &str, kind: &str) -> bool {
    LISTS.contains(&kind) && (group_of(api_version) == GROUP || api_version == "v1")
}

/// Whether a manifest is of this operator, or was meant to be.
fn is_ours(api_version: &str, kind: &str) -> bool {
    let group = group_of(api_version);
    group == GROUP || is_meant(group, kind)
}

fn group_of(api_version: &str) -> &str {
    api_version.split('/').next().unwrap_or_default()
}

impl Head {
    /// Nobody looks at it.
    fn is_foreign(&self) -> bool {
        !is_list(&self.api_version, &self.kind) && !is_ours(&self.api_version, &self.kind)
    }
}

/// The heads of all documents, as far as they have one.
fn heads(bytes: &[u8]) -> Vec<Option<Head>> {
    let mut cursor = io::Cursor::new(bytes);
    serde_yaml::read_with_options::<_, Head>(
        &mut cursor,
        options(DuplicateKeyPolicy::LastWins, NonFiniteFloatPolicy::PassThrough),
    )
    .map(Result::ok)
    .collect()
}

/// Reads all manifests of the given files and directories; `-` is standard input.
///
/// Never fails as a whole: what cannot be read is in [`Input::errors`].
pub fn read(paths: &[PathBuf], stdin: &mut dyn Read) -> Input {
    let mut input = Input::default();
    for path in paths {
        if path.as_os_str() == "-" {
            input.read_one("<stdin>", stdin);
            continue;
        }
        match files::below(path) {
            Ok(files) if files.is_empty() => {
                input.fail(Origin::file(path.display()), Fault::EmptyDirectory);
            }
            Ok(files) => files.iter().for_each(|file| input.read_file(file)),
            Err((path, source)) => {
                input.fail(Origin::file(path.display()), Fault::Unreadable(source));
            }
        }
    }
    input
}

impl Input {
    fn fail(&mut self, origin: Origin, fault: Fault) {
        self.errors.push(InputError { origin, fault });
    }

    fn read_file(&mut self, path: &Path) {
        let name = path.display().to_string();
        match std::fs::File::open(path) {
            Ok(mut file) => self.read_one(&name, &mut file),
            Err(source) => self.fail(Origin::file(name), Fault::Unreadable(source)),
        }
    }

    fn read_one(&mut self, name: &str, source: &mut dyn Read) {
        let mut bytes = Vec::new();
        if let Err(source) = source.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes) {
            return self.fail(Origin::file(name), Fault::Unreadable(source));
        }
        if bytes.len() > MAX_BYTES {
            return self.fail(Origin::file(name), Fault::TooLarge);
        }
        self.parse(name, &bytes);
    }

    fn parse(&mut self, name: &str, bytes: &[u8]) {
        let mut cursor = io::Cursor::new(bytes);
        let read = serde_yaml::read_with_options::<_, Spanned<Value>>(
            &mut cursor,
            options(DuplicateKeyPolicy::Error, NonFiniteFloatPolicy::Reject),
        );
        let heads = LazyCell::new(|| heads(bytes));
        for (index, parsed) in read.enumerate() {
            let origin = |place: Location| {
                let line = (place != Location::UNKNOWN).then_some(place.line());
                Origin { document: index + 1, line, ..Origin::file(name) }
            };
            match parsed {
                Ok(Spanned { value, defined, .. }) => self.sort(origin(defined), value),
                // Nobody looks at what others' manifests have: kubectl takes more than what is taken here.
                Err(_) if heads.get(index).is_some_and(|head| head.as_ref().is_some_and(Head::is_foreign)) => {
                    self.passed_over += 1;
                }
                Err(source) => {
                    let place = source.location().unwrap_or(Location::UNKNOWN);
                    self.fail(origin(place), Fault::Syntax(Box::new(source)));
                }
            }
        }
    }

    /// Keeps what is of our group, takes a list apart, counts the rest.
    fn sort(&mut self, origin: Origin, value: Value) {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            return self.fail(origin, Fault::NotAManifest);
        };
        match kind {
            _ if is_list(api_version, kind) => {
                let items = value.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
                for (index, item) in items.into_iter().enumerate() {
                    self.sort(Origin { item: Some(index + 1), ..origin.clone() }, item);
                }
            }
            // It is checked by the API server alone: it is created once, and kept in no file.
            "MicroserviceAction" if group_of(api_version) == GROUP => self.passed_over += 1,
            _ if is_ours(api_version, kind) => self.documents.push(Document { origin, value }),
            _ => self.passed_over += 1,
        }
    }
}

#[cfg(test)]
mod tests;
