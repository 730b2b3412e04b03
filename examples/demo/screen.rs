//! How the demo looks: headings, a table of services, bars of weights. Colours only on a terminal.

use std::{
    env,
    io::{IsTerminal, Write},
};

use microservice_operator::api::{Microservice, VersionTraffic};

/// Widest message that is shown in the table.
const WIDEST: usize = 100;
/// Characters of a bar that stands for 100 percent.
const BAR: usize = 40;

/// Standard output, with or without colours.
pub struct Screen {
    colours: bool,
}

/// What a text is to the reader.
#[derive(Clone, Copy)]
pub enum Tone {
    Heading,
    Good,
    Waiting,
    Bad,
    Quiet,
}

impl Screen {
    /// Colours on a terminal, unless `NO_COLOR` is set.
    pub fn new() -> Self {
        Self { colours: std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none() }
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Waiting => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(text: &str) {
        // Whoever closed the output does not want to read on.
        let _closed = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Begins a scene.
    pub fn scene(&self, number: usize, title: &str) {
        Self::line(&format!("\n{}", self.paint(Tone::Heading, &format!("{number}. {title}"))));
    }

    /// Says something to the reader.
    pub fn say(&self, text: &str) {
        Self::line(&format!("   {text}"));
    }

    /// Says something in a tone.
    pub fn tell(&self, tone: Tone, text: &str) {
        Self::line(&format!("   {}", self.paint(tone, text)));
    }

    /// Shows what somebody would type.
    pub fn typed(&self, command: &str) {
        for (number, line) in command.lines().enumerate() {
            let prompt = if number == 0 { "$" } else { " " };
            Self::line(&format!("   {}", self.paint(Tone::Quiet, &format!("{prompt} {line}"))));
        }
    }

    /// Shows a piece of YAML.
    pub fn yaml(&self, text: &str) {
        text.lines().for_each(|line| self.tell(Tone::Quiet, line));
    }

    /// Shows a service in one line: readiness, phase, weights and what holds it.
    pub fn service(&self, microservice: &Microservice) {
        let status = microservice.status.clone().unwrap_or_default();
        let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
        let tone = match phase.as_str() {
            "Ready" => Tone::Good,
            "Progressing" | "" => Tone::Waiting,
            _ => Tone::Bad,
        };
        let name = microservice.metadata.name.as_deref().unwrap_or_default();
        let weights = status.weights.unwrap_or_default();
        let message = if phase == "Ready" { String::new() } else { shortened(&status.message.unwrap_or_default()) };
        let phase = self.paint(tone, &format!("{phase:<11}"));
        Self::line(format!("   {name:<18} {phase} {weights:<18} {message}").trim_end());
    }

    /// Shows the weights of a service as bars, with the pods behind each.
    pub fn bars(&self, microservice: &Microservice) {
        for entry in microservice.status.iter().flat_map(|status| &status.traffic) {
            self.bar(entry);
        }
    }

    fn bar(&self, entry: &VersionTraffic) {
        let share = usize::try_from(entry.effective).unwrap_or_default().min(100);
        let full = share * BAR / 100;
        let bar = format!("{}{}", "█".repeat(full), "·".repeat(BAR - full));
        let asked = match entry.limited_by {
            Some(limit) => self.paint(Tone::Waiting, &format!("asked: {} ({limit:?})", entry.requested)),
            None => String::new(),
        };
        let line =
            format!("   {:<4} {bar} {:>3} %  {}/{} pods  {asked}", entry.version, share, entry.ready, entry.desired);
        Self::line(line.trim_end());
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= WIDEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(WIDEST).collect();
    format!("{head}…")
}
