//! The syntax of names and labels, as Kubernetes has it. Errors complete the sentence "… is not valid: it …". And which
//! hosts are whoever asks, and how text of others is told.

use std::{borrow::Cow, net::IpAddr};

/// Longest label value, DNS label and name part of a label key.
const LABEL: usize = 63;
/// Longest prefix of a label key.
const PREFIX: usize = 253;

/// A DNS label, as namespaces and most names are.
///
/// # Errors
/// What is asked for.
pub fn dns_label(text: &str) -> Result<(), &'static str> {
    (text.len() <= LABEL && of_dns(text))
        .then_some(())
        .ok_or("must be 1 to 63 lower-case letters, digits and -, beginning and ending with a letter or digit")
}

/// Whether it is made as DNS labels are, however long.
fn of_dns(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A key of a label: `name` or `prefix/name`.
///
/// # Errors
/// What is asked for.
pub fn label_key(key: &str) -> Result<(), &'static str> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if let Some(prefix) = prefix
        && (prefix.len() > PREFIX || !prefix.split('.').all(of_dns))
    {
        return Err("the part before / must be a DNS name");
    }
    if name.is_empty() || !qualified(name) {
        return Err(
            "the name must be 1 to 63 letters, digits, -, _ and ., beginning and ending with a letter or digit",
        );
    }
    Ok(())
}

/// A key of an annotation: as one of a label, but its prefix may have capitals.
///
/// # Errors
/// What is asked for.
pub fn annotation_key(key: &str) -> Result<(), &'static str> {
    label_key(&key.to_ascii_lowercase())
}

/// A value of a label; it may be empty.
///
/// # Errors
/// What is asked for.
pub fn label_value(value: &str) -> Result<(), &'static str> {
    (value.is_empty() || qualified(value))
        .then_some(())
        .ok_or("the value must be at most 63 letters, digits, -, _ and ., beginning and ending with a letter or digit")
}

/// Whether what is sent to a host of a URL stays on the machine, or in the pod, that sends it.
pub fn is_loopback(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

/// The names between `${` and `}`, in their order; what is not closed has none.
pub fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// The text on one line and in the order in which it is written: what would break a line, steer a terminal or turn the
/// direction of what is read is shown as an escape, so that nobody's manifest forges what the operator says.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if steers(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Control characters, separators of lines, and marks of the direction of text.
pub fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn qualified(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = [text.bytes().next(), text.bytes().last()];
    text.len() <= LABEL
        && text.bytes().all(inner)
        && ends.into_iter().flatten().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_on_its_line() {
        assert!(matches!(printable("Größe: 3 → 5 %"), Cow::Borrowed(_)));
        let hostile = "a\nb\r\u{1b}[2Jc\u{9b}d\u{202e}e\u{2028}";
        assert_eq!(printable(hostile), r"a\nb\r\u{1b}[2Jc\u{9b}d\u{202e}e\u{2028}");
    }

    #[test]
    fn knows_keys_values_hosts_and_placeholders() {
        for key in ["app", "team.example.com/owner", "a/B_c.d-e"] {
            assert_eq!(label_key(key), Ok(()), "{key}");
        }
        for key in ["", "/a", "a/", "A.b/c", "a b", "-a", "a/b/c", &"x".repeat(64)] {
            assert!(label_key(key).is_err(), "{key}");
        }
        assert!(annotation_key("MyCo.io/Owner").is_ok() && label_key("MyCo.io/Owner").is_err());
        assert!(annotation_key("My_Co.io/Owner").is_err() && annotation_key("MyCo.io/").is_err());
        assert!(label_value("").is_ok() && label_value("1.2-x").is_ok());
        assert!(label_value("a b").is_err() && label_value("a-").is_err());
        assert_eq!(placeholders("a{v=\"${version}\"}[${window}] ${").collect::<Vec<_>>(), ["version", "window"]);
        assert!(["localhost", "127.0.0.7", "[::1]", "::1"].into_iter().all(is_loopback));
        assert!(!["", "localhost.example", "128.0.0.1", "[::2]"].into_iter().any(is_loopback));
        assert!(dns_label("shop-1").is_ok() && dns_label("Shop").is_err() && dns_label("").is_err());
    }
}
