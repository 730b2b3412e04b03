//! The attacks of `attacks/`: what is tried, and what has to come of it.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value};

/// One attack.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// What is tried, in words.
    pub attack: String,
    /// A Microservice that the tenant creates: its spec, over a plain one, and what else is given.
    #[serde(default)]
    pub microservice: Value,
    /// Any other request of the tenant's.
    pub request: Option<Asked>,
    /// What the tenant changes in the spec once it is ready.
    #[serde(default)]
    pub then: Value,
    /// The API server says no, in words with these among them.
    pub refused: Option<String>,
    /// It is stored, and the operator does nothing but say so.
    pub stalled: Option<String>,
    /// Whether things of a service that is stalled run all the same, less those that it says it cannot have.
    #[serde(default)]
    pub runs: bool,
    /// It is done, and gets nobody anything: why.
    pub contained: Option<String>,
    /// What shows it.
    #[serde(default)]
    pub shows: Vec<Fact>,
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub body: Value,
}

/// Something about an object: at a place in it, exactly one of the others is so.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    pub kind: String,
    pub name: Option<String>,
    #[serde(default)]
    pub at: String,
    #[serde(default)]
    pub is: Value,
    #[serde(default)]
    pub absent: bool,
    pub says: Option<String>,
    pub never: Option<String>,
}

impl Attack {
    /// What comes of it, for people.
    pub fn outcome(&self) -> String {
        match (&self.refused, &self.stalled, &self.contained) {
            (Some(_), None, None) => "refused by the API server".to_owned(),
            (None, Some(_), None) => "refused by the operator".to_owned(),
            (None, None, Some(why)) => format!("contained: {why}"),
            _ => panic!("{}: exactly one of refused, stalled and contained comes of it", self.attack),
        }
    }
}

/// All attacks, by the name of their file.
pub fn corpus() -> Vec<(String, Vec<Attack>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e_tenant/attacks");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: &Path| {
        let attacks: Vec<Attack> = serde_yaml::from_str(&fs::read_to_string(path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_stem().unwrap().to_string_lossy().into_owned(), attacks)
    };
    files.iter().map(|path| read(path)).collect()
}

/// The value with its large parts written out: `{repeat: 3, item: …}` is a list of as many items (with `key`, a map), in
/// which `#` is the number of each and `int:…` a number; `{long: 3}` is a text of that length.
pub fn grown(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(grown).collect(),
        Value::Object(fields) => match (fields.get("repeat"), fields.get("long"), fields.get("deep")) {
            (Some(times), _, _) => repeated(times.as_u64().unwrap(), fields),
            (_, Some(length), _) => "x".repeat(usize::try_from(length.as_u64().unwrap()).unwrap()).into(),
            (_, _, Some(levels)) => format!("deep:{levels}").into(),
            _ => fields.iter().map(|(key, field)| (key.clone(), grown(field))).collect::<Map<_, _>>().into(),
        },
        other => other.clone(),
    }
}

fn repeated(times: u64, fields: &Map<String, Value>) -> Value {
    let item = grown(&fields["item"]);
    let number = |index: u64| numbered(&item, index);
    match fields.get("key").and_then(Value::as_str) {
        None => (0..times).map(number).collect(),
        Some(key) => (0..times).map(|it| (key.replace('#', &it.to_string()), number(it))).collect::<Map<_, _>>().into(),
    }
}

fn numbered(value: &Value, index: u64) -> Value {
    match value {
        Value::String(text) => {
            let text = text.replace('#', &index.to_string());
            text.strip_prefix("int:").map_or_else(|| text.as_str().into(), |it| it.parse::<u64>().unwrap().into())
        }
        Value::Array(items) => items.iter().map(|item| numbered(item, index)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, field)| (key.clone(), numbered(field, index))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// The JSON of a value, with `{deep: 3}` as three objects within each other: more of them than a value can hold.
pub fn json(value: &Value) -> String {
    let text = value.to_string();
    let Some((before, rest)) = text.split_once("\"deep:") else { return text };
    let (levels, after) = rest.split_once('"').unwrap();
    let levels: usize = levels.parse().unwrap();
    format!("{before}{}1{}{after}", "{\"a\":".repeat(levels), "}".repeat(levels))
}
