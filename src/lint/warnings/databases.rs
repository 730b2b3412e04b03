//! Databases that two services share.

mod address;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, EnvVarSource};

use crate::{
    api::PodSettings,
    lint::Subject,
    validate::{Problem, Version},
};

use address::Address;

/// Parts of a name that say it is about a database.
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
const PORTS: [&str; 1] = ["PORT"];
const NAMES: [&str; 3] = ["DATABASE", "DB", "NAME"];
/// What tells databases of one host apart where none is named; many clients take the user's name for it.
const INSTEAD_OF_NAMES: [&str; 3] = ["SCHEMA", "USER", "USERNAME"];

/// Services that share a database share its tables, and can no longer change them on their own.
pub(super) fn shared_database(subjects: &[Subject]) -> Vec<(usize, Problem)> {
    let mut owners: Vec<(Address, usize)> = Vec::new();
    let mut found = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        for (database, path) in databases(subject) {
            let Some((_, owner)) = owners.iter().find(|(known, _)| known.is_same(&database)) else {
                owners.push((database, index));
                continue;
            };
            if subjects[*owner].key() != subject.key() {
                let message = format!(
                    "{} is also the database of {}: every service owns its data; give this one its own, or ask the \
                     other service",
                    database.place,
                    subjects[*owner].object()
                );
                found.push((index, Problem::new(path, message)));
            }
        }
    }
    found
}

/// The databases of a service, each with the place in the manifest that names it.
fn databases(subject: &Subject) -> BTreeMap<Address, String> {
    let namespace = subject.key().0;
    let of_version = |version: &Version| {
        let PodSettings { env, env_from, .. } = &version.pod;
        let variables = Variables::new(env, !env_from.is_empty(), namespace);
        let named = variables.databases().into_iter().map(|(found, name)| (found, format!("spec.env[{name}]")));
        let whole = env_from.iter().filter_map(|source| whole(source, namespace));
        named.chain(whole.map(|found| (found, "spec.envFrom".to_owned()))).collect::<Vec<_>>()
    };
    subject.resolved.versions.iter().flat_map(of_version).collect()
}

/// A Secret or ConfigMap that is taken whole and named after a database.
fn whole(source: &EnvFromSource, namespace: &str) -> Option<Address> {
    let secret = source.secret_ref.as_ref().map(|secret| ("Secret", &secret.name));
    let config = source.config_map_ref.as_ref().map(|config| ("ConfigMap", &config.name));
    let (kind, name) = secret.or(config)?;
    words(name).into_iter().any(is_about_databases).then(|| Address::new(format!("all of {kind} {namespace}/{name}")))
}

fn words(name: &str) -> Vec<&str> {
    name.split(['_', '.', '-']).collect()
}

fn is_one_of(word: &str, known: &[&str]) -> bool {
    known.contains(&word.to_ascii_uppercase().as_str())
}

/// A word of the list, or one such as PGHOST.
fn is_about_databases(word: &str) -> bool {
    let parts = [&HOSTS[..], &PORTS, &NAMES, &INSTEAD_OF_NAMES];
    is_one_of(word, &DATABASES)
        || word.strip_prefix("PG").is_some_and(|rest| parts.iter().any(|known| is_one_of(rest, known)))
}

/// A variable that is about a database.
struct Variable<'a> {
    /// The words before the last.
    prefix: Vec<&'a str>,
    /// What the variable is for: the last word, without the PG of PGHOST.
    last: &'a str,
    variable: &'a EnvVar,
}

/// The variables of a container that are about databases.
struct Variables<'a> {
    variables: Vec<Variable<'a>>,
    /// Whether there may be more, from a whole Secret or ConfigMap.
    has_more: bool,
    namespace: &'a str,
}

impl<'a> Variables<'a> {
    fn new(env: &'a [EnvVar], has_more: bool, namespace: &'a str) -> Self {
        let variable = |variable: &'a EnvVar| {
            let mut prefix = words(&variable.name);
            let about = prefix.iter().any(|word| is_about_databases(word));
            let last = prefix.pop().filter(|_| about)?;
            Some(Variable { prefix, last: last.strip_prefix("PG").unwrap_or(last), variable })
        };
        Self { variables: env.iter().filter_map(variable).collect(), has_more, namespace }
    }

    /// The databases, each with the variable that names it.
    fn databases(&self) -> Vec<(Address, &str)> {
        let database = |it: &Variable<'a>| {
            let found = if is_one_of(it.last, &ADDRESSES) {
                self.value(it).and_then(|value| match value {
                    Value::Text(text) => address::read(text, self.namespace),
                    Value::Entry(entry) => Some(Address::new(entry)),
                })
            } else if is_one_of(it.last, &HOSTS) {
                self.on_host(it)
            } else {
                None
            };
            found.map(|found| (found, it.variable.name.as_str()))
        };
        self.variables.iter().filter_map(database).collect()
    }

    /// The database on a host, from the variables that go with it. `None` when nobody can tell which one it is.
    fn on_host(&self, host: &Variable<'a>) -> Option<Address> {
        let name = match self.going_with(host, &NAMES) {
            Found::None => match self.going_with(host, &INSTEAD_OF_NAMES) {
                Found::None if self.has_more => return None,
                found => found,
            },
            found => found,
        };
        let name = match name {
            Found::None => None,
            Found::One(name) => Some(self.value(name)?),
            Found::Several => return None,
        };
        let port = match self.going_with(host, &PORTS) {
            Found::One(port) => port.variable.value.as_deref(),
            Found::None | Found::Several => None,
        };
        match (self.value(host)?, name) {
            (Value::Text(host), None) => address::of_parts(host, port, "", self.namespace),
            (Value::Text(host), Some(Value::Text(name))) => address::of_parts(host, port, name, self.namespace),
            (host, name) => {
                let host = match host {
                    Value::Text(host) => address::in_namespace(host, self.namespace),
                    Value::Entry(entry) => entry,
                };
                let parts = [Some(host), name.map(Value::into_text)];
                Some(Address::new(parts.into_iter().flatten().collect::<Vec<_>>().join(" with ")))
            }
        }
    }

    /// The variable for something that belongs to a host: the one named like it, or the only one there is.
    fn going_with(&self, host: &Variable<'a>, known: &[&str]) -> Found<'_, 'a> {
        let mut all = self.variables.iter().filter(|it| is_one_of(it.last, known));
        if let Some(alike) = all.clone().find(|it| it.prefix == host.prefix) {
            return Found::One(alike);
        }
        match (all.next(), all.next()) {
            (None, _) => Found::None,
            (Some(only), None) => Found::One(only),
            (Some(_), Some(_)) => Found::Several,
        }
    }

    fn value(&self, it: &Variable<'a>) -> Option<Value<'a>> {
        match (it.variable.value.as_deref(), &it.variable.value_from) {
            (Some(text), _) if !text.is_empty() => Some(Value::Text(text)),
            (_, Some(source)) => entry(source, self.namespace).map(Value::Entry),
            _ => None,
        }
    }
}

/// What was found among variables.
enum Found<'v, 'a> {
    None,
    One(&'v Variable<'a>),
    Several,
}

/// What a variable says.
enum Value<'a> {
    Text(&'a str),
    /// An entry of a Secret or ConfigMap, in words.
    Entry(String),
}

impl Value<'_> {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text.to_owned(),
            Self::Entry(entry) => entry,
        }
    }
}

fn entry(source: &EnvVarSource, namespace: &str) -> Option<String> {
    let secret = source.secret_key_ref.as_ref().map(|entry| ("Secret", &entry.name, &entry.key));
    let config = source.config_map_key_ref.as_ref().map(|entry| ("ConfigMap", &entry.name, &entry.key));
    let (kind, name, key) = secret.or(config)?;
    Some(format!("the entry {key} of {kind} {namespace}/{name}"))
}
