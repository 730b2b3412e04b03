//! One line a record, whatever is in it: what others wrote may not break it, nor look like a record of its own.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::validate::syntax::printable;

/// Writes records to what `open` gives.
#[derive(Clone, Copy)]
pub struct Lines<O> {
    pub open: O,
    /// Whether records have colours, which are control characters of their own. Those of others are escaped before.
    pub coloured: bool,
}

/// A record on its way.
pub struct Line<W> {
    to: W,
    coloured: bool,
}

impl<'a, O: Fn() -> W, W: Write> MakeWriter<'a> for Lines<O> {
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { to: (self.open)(), coloured: self.coloured }
    }
}

impl<W: Write> Write for Line<W> {
    /// A record comes at once, with the end of its line.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let line = if self.coloured {
            text.split('\u{1b}').map(printable).collect::<Vec<_>>().join("\u{1b}")
        } else {
            printable(text).into_owned()
        };
        self.to.write_all(format!("{line}\n").as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(record: &str, coloured: bool) -> String {
        let mut line = Line { to: Vec::new(), coloured };
        line.write_all(record.as_bytes()).unwrap();
        String::from_utf8(line.to).unwrap()
    }

    #[test]
    fn a_record_is_one_line() {
        let forged = "INFO it said a\n2026-01-01 ERROR forged\r\u{7}\n";
        assert_eq!(written(forged, false), "INFO it said a\\n2026-01-01 ERROR forged\\r\\u{7}\n");
        assert_eq!(written("\u{1b}[31mred\u{1b}[0m a\nb\n", true), "\u{1b}[31mred\u{1b}[0m a\\nb\n");
        assert_eq!(written("a\u{1b}[2Jb\n", false), "a\\u{1b}[2Jb\n");
    }
}
