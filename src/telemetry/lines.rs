//! One line a record, whatever is in it: what others wrote may not break it, nor look like a record of its own.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::validate::syntax::{printable, steers};

/// What a record is written as.
#[derive(Clone, Copy)]
pub enum Style {
    Plain,
    /// With colours, which are control characters of its own. Those of others are escaped before.
    Coloured,
    /// JSON, and so is what is escaped.
    Json,
}

/// Writes records to what `open` gives.
#[derive(Clone, Copy)]
pub struct Lines<O> {
    pub open: O,
    pub style: Style,
}

/// A record on its way.
pub struct Line<W> {
    to: W,
    style: Style,
}

impl<'a, O: Fn() -> W, W: Write> MakeWriter<'a> for Lines<O> {
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { to: (self.open)(), style: self.style }
    }
}

impl<W: Write> Write for Line<W> {
    /// A record comes at once, with the end of its line.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let line = match self.style {
            Style::Plain => printable(text).into_owned(),
            Style::Coloured => text.split('\u{1b}').map(printable).collect::<Vec<_>>().join("\u{1b}"),
            Style::Json => text.chars().map(in_json).collect(),
        };
        self.to.write_all(format!("{line}\n").as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A character of a record in JSON, which has escaped by itself what would break its line.
fn in_json(c: char) -> String {
    if steers(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(record: &str, style: Style) -> String {
        let mut line = Line { to: Vec::new(), style };
        line.write_all(record.as_bytes()).unwrap();
        String::from_utf8(line.to).unwrap()
    }

    #[test]
    fn a_record_is_one_line() {
        let forged = "INFO it said a\n2026-01-01 ERROR forged\r\u{7}\n";
        assert_eq!(written(forged, Style::Plain), "INFO it said a\\n2026-01-01 ERROR forged\\r\\u{7}\n");
        assert_eq!(written("\u{1b}[31mred\u{1b}[0m a\nb\n", Style::Coloured), "\u{1b}[31mred\u{1b}[0m a\\nb\n");
        assert_eq!(written("a\u{1b}[2Jb\n", Style::Plain), "a\\u{1b}[2Jb\n");
    }

    #[test]
    fn a_record_in_json_is_json_whatever_is_in_it() {
        let all: String = (0..=0xffff).filter_map(char::from_u32).filter(|c| steers(*c)).collect();
        assert!(all.contains('\u{202e}') && all.contains('\n') && all.contains('\u{9b}'));
        let line = written(&format!("{}\n", serde_json::json!({"message": all})), Style::Json);
        let line = line.strip_suffix('\n').unwrap();
        assert!(!line.contains(steers), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["message"], all.as_str());
    }
}
