//! Databases that two services share.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource};

use crate::{lint::Subject, validate::Problem};

/// Parts of a variable's name that say it is about a database.
const DATABASES: [&str; 16] = [
    "CASSANDRA",
    "COCKROACH",
    "COUCHDB",
    "DATABASE",
    "DATASOURCE",
    "DB",
    "MARIADB",
    "MONGO",
    "MONGODB",
    "MSSQL",
    "MYSQL",
    "ORACLE",
    "PG",
    "POSTGRES",
    "POSTGRESQL",
    "SQLSERVER",
];
/// How names of variables with a whole address end.
const ADDRESSES: [&str; 6] = ["CONNECTION", "CONNSTR", "DSN", "STRING", "URI", "URL"];
const HOSTS: [&str; 2] = ["HOST", "HOSTNAME"];
const NAMES: [&str; 3] = ["DATABASE", "DB", "NAME"];

/// Services that share a database share its tables, and can no longer change them on their own.
pub(super) fn shared_database(subjects: &[Subject]) -> Vec<(usize, Problem)> {
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        for (database, variable) in databases(subject) {
            let owner = *owners.entry(database.clone()).or_insert(index);
            if subjects[owner].key() != subject.key() {
                let message = format!(
                    "{database} is also the database of {}: every service owns its data; give this one its own, or ask \
                     the other service",
                    subjects[owner].object()
                );
                found.push((index, Problem::new(format!("spec.env[{variable}]"), message)));
            }
        }
    }
    found
}

/// The databases of a service, each with the variable that names it.
fn databases(subject: &Subject) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for version in &subject.resolved.versions {
        let variables: Vec<(Vec<&str>, &EnvVar)> = version
            .pod
            .env
            .iter()
            .map(|variable| (variable.name.split(['_', '.', '-']).collect::<Vec<_>>(), variable))
            .filter(|(words, _)| words.iter().any(|word| is_one_of(word, &DATABASES) || starts_with_pg(word)))
            .collect();
        for (words, variable) in &variables {
            let last = words.last().copied().unwrap_or_default();
            if is_one_of(last, &ADDRESSES) {
                found.extend(target(variable, subject).map(|target| (target, variable.name.clone())));
            } else if ends_with_one_of(last, &HOSTS) {
                found.extend(with_name(words, variable, &variables).map(|target| (target, variable.name.clone())));
            }
        }
    }
    found
}

fn is_one_of(word: &str, known: &[&str]) -> bool {
    known.contains(&word.to_ascii_uppercase().as_str())
}

/// As in PGHOST.
fn ends_with_one_of(word: &str, known: &[&str]) -> bool {
    known.iter().any(|known| word.to_ascii_uppercase().ends_with(known))
}

fn starts_with_pg(word: &str) -> bool {
    ["PGHOST", "PGDATABASE", "PGNAME"].contains(&word)
}

/// What an address means: the place without credentials and options, or the entry of a Secret or ConfigMap.
fn target(variable: &EnvVar, subject: &Subject) -> Option<String> {
    match (&variable.value, &variable.value_from) {
        (Some(value), _) if !value.is_empty() => Some(place(value)),
        (_, Some(source)) => entry(source, subject.key().0),
        _ => None,
    }
}

fn place(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#', ';']).next().unwrap_or(rest);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or(authority).to_ascii_lowercase();
    format!("{host}/{path}").trim_end_matches('/').to_owned()
}

fn entry(source: &EnvVarSource, namespace: &str) -> Option<String> {
    let secret = source.secret_key_ref.as_ref().map(|entry| ("Secret", &entry.name, &entry.key));
    let config = source.config_map_key_ref.as_ref().map(|entry| ("ConfigMap", &entry.name, &entry.key));
    let (kind, name, key) = secret.or(config)?;
    Some(format!("the entry {key} of {kind} {namespace}/{name}"))
}

/// A host together with the name of the database, from the variable that goes with it.
fn with_name(words: &[&str], host: &EnvVar, variables: &[(Vec<&str>, &EnvVar)]) -> Option<String> {
    let prefix = &words[..words.len() - 1];
    let goes_with = |(other, variable): &&(Vec<&str>, &EnvVar)| {
        let named = other.last().is_some_and(|last| ends_with_one_of(last, &NAMES));
        variable.name != host.name && named && &other[..other.len() - 1] == prefix
    };
    let (_, name) = variables.iter().find(goes_with)?;
    let (host, name) = (host.value.as_deref()?, name.value.as_deref()?);
    (!host.is_empty() && !name.is_empty()).then(|| place(&format!("{host}/{name}")))
}
