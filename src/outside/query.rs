//! Placeholders of queries, addresses and bodies, each escaped for where it stands. Pure.

use crate::plan::inquiry::Measure;

use super::Error;

/// Texts by the placeholder that they replace.
pub type Words<'a> = [(&'a str, String)];

/// How a text is written where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Within a string of PromQL, whatever its quotes.
    PromQl,
    /// Within a regular expression in a string of PromQL.
    PromQlRegex,
    /// Within a tag's value in a query of Datadog, which has no escapes.
    Datadog,
    /// Within a path or a query of an address.
    Url,
    /// Within a string of JSON.
    Json,
    /// As it is.
    Plain,
}

impl Escape {
    fn write(self, text: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match self {
            Self::Plain => text.to_owned(),
            Self::PromQl => text.chars().map(|c| if plain(c) { c.to_string() } else { code(c) }).collect(),
            Self::PromQlRegex => {
                let character = |c| match c {
                    '.' => "[.]".to_owned(),
                    c if plain(c) => c.to_string(),
                    c => format!("\\\\x{{{:x}}}", u32::from(c)),
                };
                text.chars().map(character).collect()
            }
            Self::Datadog => text.chars().map(|c| if plain(c) || matches!(c, '/' | ':') { c } else { '_' }).collect(),
            Self::Url => {
                let byte = |byte: u8| match char::from(byte) {
                    c if plain(c) || c == '~' => c.to_string(),
                    _ => format!("%{byte:02X}"),
                };
                text.bytes().map(byte).collect()
            }
            Self::Json => {
                let quoted = serde_json::Value::from(text).to_string();
                quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
            }
        }
    }
}

/// A character by its number, which PromQL reads in strings with either kind of quotes.
fn code(c: char) -> String {
    let number = u32::from(c);
    match number {
        0..0x80 => format!("\\x{number:02x}"),
        0x80..0x1_0000 => format!("\\u{number:04x}"),
        _ => format!("\\U{number:08x}"),
    }
}

/// A template with its placeholders replaced.
///
/// # Errors
/// A placeholder is not among the words, or not closed.
pub fn fill(template: &str, words: &Words<'_>, escape: Escape) -> Result<String, Error> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or(Error::Unclosed)?;
        let Some((_, word)) = words.iter().find(|(known, _)| *known == name) else {
            let known = words.iter().map(|(known, _)| format!("${{{known}}}")).collect::<Vec<_>>().join(", ");
            return Err(Error::Placeholder { found: format!("${{{name}}}"), known });
        };
        filled.push_str(before);
        filled.push_str(&escape.write(word));
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// What a measurement of a version has to say; the window is in `window`'s words.
pub fn words(measure: &Measure, version: &str, window: String) -> Vec<(&'static str, String)> {
    vec![
        ("version", version.to_owned()),
        ("service", measure.service.clone()),
        ("namespace", measure.namespace.clone()),
        ("window", window),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, value: &str, escape: Escape) -> Result<String, String> {
        fill(template, &[("version", value.to_owned())], escape).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_put_in_stays_a_text() {
        const HOSTILE: &str = "\"} or up{'`\\\n";
        let query = filled("x{v=\"${version}\"}", HOSTILE, Escape::PromQl).unwrap();
        assert_eq!(query, r#"x{v="\x22\x7d\x20or\x20up\x7b\x27\x60\x5c\x0a"}"#);
        assert_eq!(filled("${version}", "a.b|\"é", Escape::PromQlRegex).unwrap(), r"a[.]b\\x{7c}\\x{22}\\x{e9}");
        assert_eq!(filled("sum:x{v:${version}}", "a},b{*", Escape::Datadog).unwrap(), "sum:x{v:a__b__}");
        assert_eq!(filled("/x/${version}", "../a?b=ü", Escape::Url).unwrap(), "/x/..%2Fa%3Fb%3D%C3%BC");
        let body = filled("{\"v\": \"${version}\"}", HOSTILE, Escape::Json).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["v"], HOSTILE);
        for escape in [Escape::PromQl, Escape::Datadog, Escape::Url, Escape::Json, Escape::Plain] {
            assert_eq!(filled("${version}!${version}", "r-4f.2_b", escape).unwrap(), "r-4f.2_b!r-4f.2_b");
        }
    }

    #[test]
    fn a_value_is_not_looked_through_for_placeholders() {
        assert_eq!(filled("${version}", "${version}", Escape::Plain).unwrap(), "${version}");
    }

    #[test]
    fn what_is_no_placeholder_is_told_or_left() {
        assert_eq!(
            filled("up{x=\"${pod}\"}", "v2", Escape::PromQl),
            Err("the placeholder \"${pod}\" is not known: ${version} are".to_owned())
        );
        assert!(filled("up{x=\"${version\"", "v2", Escape::PromQl).unwrap_err().contains("not closed"));
        assert_eq!(filled("a$ $b {c}", "v2", Escape::PromQl).unwrap(), "a$ $b {c}");
    }
}
