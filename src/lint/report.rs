//! Findings, and how they are written.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    input::{InputError, Origin},
    validate::{Problem, syntax::printable},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is refused.
    Error,
    /// It is accepted, and rarely meant.
    Warning,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub severity: Severity,
    #[serde(flatten)]
    pub origin: Origin,
    /// Namespace and name; empty for input that is no manifest.
    pub object: String,
    /// Where in the manifest.
    pub path: String,
    /// Identifier of the rule, in kebab case.
    pub rule: &'static str,
    pub message: String,
}

impl Finding {
    pub(super) fn new(
        severity: Severity,
        origin: &Origin,
        object: &str,
        rule: &'static str,
        Problem { path, message }: Problem,
    ) -> Self {
        Self { severity, origin: origin.clone(), object: object.to_owned(), path, rule, message }
    }

    pub(super) fn unreadable(error: &InputError) -> Self {
        Self {
            severity: Severity::Error,
            origin: error.origin.clone(),
            object: String::new(),
            path: String::new(),
            rule: "unreadable",
            message: error.fault.to_string(),
        }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of the input; errors of a manifest before its warnings.
    pub findings: Vec<Finding>,
    /// Manifests that were checked.
    pub checked: usize,
    /// AnalysisProviders and RolloutWebhooks among them.
    pub of_cluster: usize,
    /// Manifests of other kinds.
    pub passed_over: usize,
}

/// The JSON form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    checked: usize,
    passed_over: usize,
    errors: usize,
    warnings: usize,
    findings: &'a [Finding],
}

impl Report {
    /// How many findings are errors.
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    /// How many findings are warnings.
    pub fn warnings(&self) -> usize {
        self.findings.len() - self.errors()
    }

    /// A line a finding, and a summary.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write_text(&self, out: &mut dyn Write, coloured: bool) -> io::Result<()> {
        let paint =
            |code: &str, text: &str| if coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
        for finding in &self.findings {
            let severity = match finding.severity {
                Severity::Error => paint("1;31", "error"),
                Severity::Warning => paint("1;33", "warning"),
            };
            let place = [finding.origin.to_string(), finding.object.clone(), finding.path.clone()];
            let place = place.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
            let rule = paint("2", &format!("[{}]", finding.rule));
            let (place, message) = (printable(&place), printable(&finding.message));
            writeln!(out, "{severity}: {}: {message} {rule}", paint("1", &place))?;
        }
        writeln!(out, "{}", self.summary())
    }

    fn summary(&self) -> String {
        let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let others = match self.passed_over {
            0 => String::new(),
            _ => format!(" ({} of other kinds passed over)", count(self.passed_over, "manifest")),
        };
        if self.checked == 0 {
            return format!("no Microservice found in the given files{others}");
        }
        let what = if self.of_cluster == 0 { "Microservice" } else { "manifest" };
        format!(
            "{} checked: {}, {}{others}",
            count(self.checked, what),
            count(self.errors(), "error"),
            count(self.warnings(), "warning")
        )
    }

    /// One JSON object.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let json = Json {
            checked: self.checked,
            passed_over: self.passed_over,
            errors: self.errors(),
            warnings: self.warnings(),
            findings: &self.findings,
        };
        serde_json::to_writer_pretty(&mut *out, &json)?;
        writeln!(out)
    }
}
