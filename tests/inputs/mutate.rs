//! Changes of inputs by a seed.

use std::{fs, path::PathBuf};

use devcluster::Dice;
use serde_json::{Value, json};

use crate::campaign;

/// How much more the whole campaign runs than its short part.
const WHOLE: usize = 100;

/// What texts are often broken by.
const TOKENS: &[&str] = &[
    "",
    "\0",
    "\n",
    "\t",
    " ",
    "\"",
    "'",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "-",
    "--",
    "---\n",
    "#",
    "&a",
    "*a",
    "<<",
    "!!",
    "%",
    "${",
    "${version}",
    "=",
    "0",
    "-1",
    "1e999",
    "99999999999999999999",
    "0x1f",
    ".inf",
    "null",
    "~",
    "true",
    "ä",
    "\u{202e}",
    "\u{feff}",
    "🦀",
    "a\u{301}",
    "../",
    "s",
    "ms",
    "h",
    "Ki",
    "e64",
];

/// The numbers of the runs, each of which is a seed.
pub fn runs(short: usize) -> impl Iterator<Item = u64> {
    let count = if campaign::whole() { short * WHOLE } else { short };
    let first = campaign::seed();
    first..first + count as u64
}

/// A file of the corpus.
pub fn corpus(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/inputs/corpus").join(name)
}

/// The lines of a file of the corpus, with the escapes of JSON.
pub fn lines(name: &str) -> Vec<String> {
    let text = fs::read_to_string(corpus(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(&format!("\"{line}\"")).unwrap()).collect()
}

/// A text of the corpus, changed in some places.
pub fn text(all: &[String], dice: &mut Dice) -> String {
    let mut chars: Vec<char> = all[dice.below(all.len())].chars().collect();
    for _ in 0..dice.below(5) {
        let at = dice.below(chars.len() + 1);
        let to = (at + 1 + dice.below(8)).min(chars.len());
        match dice.below(5) {
            0 => drop(chars.splice(at..at, TOKENS[dice.below(TOKENS.len())].chars())),
            1 => drop(chars.drain(at.min(to)..to)),
            2 => {
                let twice: Vec<char> = chars[at.min(to)..to].to_vec();
                chars.splice(at..at, twice);
            }
            3 => {
                let other: Vec<char> = all[dice.below(all.len())].chars().collect();
                let from = dice.below(other.len() + 1);
                chars.splice(at.., other[from..].iter().copied());
            }
            _ => {
                if let Some(found) = chars.get_mut(at) {
                    *found = char::from_u32(u32::try_from(dice.below(0x3000)).unwrap()).unwrap_or('?');
                }
            }
        }
    }
    chars.into_iter().collect()
}

/// Values that fields of an object are often broken by.
fn odd(dice: &mut Dice) -> Value {
    let all = [
        json!(null),
        json!(0),
        json!(-1),
        json!(i32::MAX),
        json!(i32::MIN),
        json!(i64::MAX),
        json!(1.5),
        json!(""),
        json!("x"),
        json!([]),
        json!({}),
        json!(true),
        json!("9999-12-31T23:59:59.999999Z"),
        json!("0001-01-01T00:00:00.000000Z"),
        json!("v1"),
        json!("v9"),
        json!("${version}"),
        json!("999999999h"),
        json!("1ms"),
        json!([null]),
        json!({"v1": 100, "v9": -7}),
    ];
    all[dice.below(all.len())].clone()
}

/// Changes a few places of an object.
pub fn value(root: &mut Value, dice: &mut Dice) {
    for _ in 0..=dice.below(3) {
        let mut places = Vec::new();
        pointers(root, String::new(), &mut places);
        let place = places[dice.below(places.len())].clone();
        let Some(found) = root.pointer_mut(&place) else { continue };
        match (dice.below(4), found) {
            (0, Value::Object(map)) => {
                if let Some(key) = map.keys().nth(dice.below(map.len().max(1))).cloned() {
                    map.remove(&key);
                }
            }
            (0, Value::Array(items)) if !items.is_empty() => drop(items.remove(dice.below(items.len()))),
            (1, Value::Array(items)) if !items.is_empty() => items.push(items[dice.below(items.len())].clone()),
            (_, found) => *found = odd(dice),
        }
    }
}

/// The addresses of all that is within a value, and of itself.
pub fn pointers(value: &Value, at: String, into: &mut Vec<String>) {
    let below = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| pointers(value, below(key), into)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| pointers(value, below(&index.to_string()), into))
        }
        _ => {}
    }
    into.push(at);
}
