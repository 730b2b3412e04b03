//! The API server's log of requests: who did what, and how it ended.
//!
//! A request's line is written when it is answered, so its client may be a moment ahead of the log:
//! [`AuditLog::wait_for`] waits for a line, [`crate::Cluster::settled_mark`] for all of them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

/// The log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file can't be read.
    #[error("cannot read the audit log {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line is not an event.
    #[error("the audit log {} has a line that is no event: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// The expected event did not come.
    #[error("no such request came in {} s: look at {}", waited.as_secs(), path.display())]
    Timeout {
        /// How long it was waited for.
        waited: Duration,
        /// The file.
        path: PathBuf,
    },
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditMark(u64);

impl AuditMark {
    /// The log's beginning.
    pub const START: Self = Self(0);
}

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub verb: String,
    /// Who asked; behind an impersonation, the user that was acted as.
    pub user: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// The API group; empty for the core one.
    pub group: String,
    /// The resource's plural; empty for a path that is no resource.
    pub resource: String,
    /// `status`, `scale`, …, or empty.
    pub subresource: String,
    /// The object's namespace, or empty.
    pub namespace: String,
    /// The object's name, or empty.
    pub name: String,
    /// The path and query.
    pub request_uri: String,
    /// The HTTP status.
    pub code: u16,
    /// `ResponseStarted` (of a watch) or `ResponseComplete`, or `Panic`.
    pub stage: String,
    /// When that stage was reached.
    pub time: Timestamp,
    /// How long that took from when the request was received.
    pub took: Duration,
}

impl AuditEvent {
    /// Whether the request could change something: neither a read nor a watch.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// The log of one cluster's API server.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

const POLL: Duration = Duration::from_millis(20);
/// Longest line, in bytes.
const LONGEST: u64 = 1 << 20;

impl AuditLog {
    /// The log in this file, such as one that was kept.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The end of the last whole line at present.
    pub fn mark(&self) -> Result<AuditMark, AuditError> {
        let tail = |mut file: File| {
            let start = file.seek(SeekFrom::End(0))?.saturating_sub(LONGEST);
            file.seek(SeekFrom::Start(start))?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Ok(start + whole(&text) as u64)
        };
        File::open(&self.path).and_then(tail).map(AuditMark).map_err(|source| self.unreadable(source))
    }

    /// The requests answered after `mark` that `wanted` says yes to.
    pub fn since(&self, mark: AuditMark, wanted: impl Fn(&AuditEvent) -> bool) -> Result<Vec<AuditEvent>, AuditError> {
        self.read_on(mark, wanted).map(|(events, _)| events)
    }

    /// The same, and the place behind all that was read.
    pub fn read_on(
        &self,
        mark: AuditMark,
        wanted: impl Fn(&AuditEvent) -> bool,
    ) -> Result<(Vec<AuditEvent>, AuditMark), AuditError> {
        let text = self.text_since(mark)?;
        let mut events = Vec::new();
        for line in text.lines() {
            let event = parse(line).map_err(|source| AuditError::Malformed { path: self.path.clone(), source })?;
            if wanted(&event) {
                events.push(event);
            }
        }
        Ok((events, AuditMark(mark.0 + text.len() as u64)))
    }

    /// Waits for a request answered after `mark` that `wanted` says yes to.
    pub async fn wait_for(
        &self,
        mark: AuditMark,
        timeout: Duration,
        wanted: impl Fn(&AuditEvent) -> bool,
    ) -> Result<AuditEvent, AuditError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(event) = self.since(mark, &wanted)?.into_iter().next() {
                return Ok(event);
            }
            if Instant::now() >= deadline {
                return Err(AuditError::Timeout { waited: timeout, path: self.path.clone() });
            }
            sleep(POLL).await;
        }
    }

    /// The whole lines after a mark: the last one may still be being written.
    fn text_since(&self, AuditMark(start): AuditMark) -> Result<String, AuditError> {
        let mut text = Vec::new();
        File::open(&self.path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(start))?;
                file.read_to_end(&mut text)
            })
            .map_err(|source| self.unreadable(source))?;
        text.truncate(whole(&text));
        String::from_utf8(text).map_err(|error| self.unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    fn unreadable(&self, source: io::Error) -> AuditError {
        AuditError::Read { path: self.path.clone(), source }
    }
}

/// Length of the whole lines.
fn whole(text: &[u8]) -> usize {
    text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: LineUser,
    impersonated_user: Option<LineUser>,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: LineObject,
    #[serde(default)]
    response_status: LineStatus,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct LineUser {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LineObject {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    api_group: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LineStatus {
    code: u16,
}

fn parse(line: &str) -> Result<AuditEvent, serde_json::Error> {
    let line: Line = serde_json::from_str(line)?;
    let LineObject { resource, subresource, namespace, name, api_group } = line.object_ref;
    Ok(AuditEvent {
        verb: line.verb,
        user: line.impersonated_user.unwrap_or(line.user).username,
        user_agent: line.user_agent,
        group: api_group,
        resource,
        subresource,
        namespace,
        name,
        request_uri: line.request_uri,
        code: line.response_status.code,
        stage: line.stage,
        time: line.stage_timestamp,
        took: Duration::try_from(line.stage_timestamp.duration_since(line.request_received_timestamp))
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const PATCH: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"/apis/apps/v1/namespaces/shop/deployments/web/status?fieldManager=x","verb":"patch","user":{"username":"system:serviceaccount:mso:operator","groups":["system:authenticated"]},"sourceIPs":["127.0.0.1"],"userAgent":"operator/0.1","objectRef":{"resource":"deployments","namespace":"shop","name":"web","apiGroup":"apps","apiVersion":"v1","subresource":"status"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-01-02T03:04:05.000001Z","stageTimestamp":"2026-01-02T03:04:05.000003Z"}"#;
    const PATH: &str = r#"{"kind":"Event","stage":"ResponseComplete","requestURI":"/readyz","verb":"get","user":{"username":"admin"},"impersonatedUser":{"username":"eve"},"responseStatus":{"code":403},"requestReceivedTimestamp":"2026-01-02T03:04:05Z","stageTimestamp":"2026-01-02T03:04:05Z"}"#;

    fn log(content: &str) -> (tempfile::NamedTempFile, AuditLog) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let log = AuditLog::at(file.path().to_owned());
        (file, log)
    }

    #[test]
    fn a_request_is_read_in_full() {
        let event = parse(PATCH).unwrap();
        let expected = AuditEvent {
            verb: "patch".into(),
            user: "system:serviceaccount:mso:operator".into(),
            user_agent: "operator/0.1".into(),
            group: "apps".into(),
            resource: "deployments".into(),
            subresource: "status".into(),
            namespace: "shop".into(),
            name: "web".into(),
            request_uri: "/apis/apps/v1/namespaces/shop/deployments/web/status?fieldManager=x".into(),
            code: 200,
            stage: "ResponseComplete".into(),
            time: "2026-01-02T03:04:05.000003Z".parse().unwrap(),
            took: Duration::from_micros(2),
        };
        assert_eq!(event, expected);
        assert!(event.is_write());
    }

    #[test]
    fn a_path_has_no_resource_and_an_impersonated_user_is_the_user() {
        let event = parse(PATH).unwrap();
        assert_eq!((event.user.as_str(), event.resource.as_str(), event.code), ("eve", "", 403));
        assert!(!event.is_write());
    }

    #[test]
    fn only_what_came_after_the_mark_is_told_and_a_half_line_waits() {
        let (mut file, log) = log(&format!("{PATCH}\n"));
        let mark = log.mark().unwrap();
        let (half, rest) = PATH.split_at(40);
        file.write_all(format!("{PATH}\n{half}").as_bytes()).unwrap();
        assert_eq!(log.since(mark, |_| true).unwrap().len(), 1);
        file.write_all(format!("{rest}\n").as_bytes()).unwrap();
        assert_eq!(log.since(mark, |event| event.code == 403).unwrap().len(), 2);
        assert_eq!(log.since(AuditMark::START, AuditEvent::is_write).unwrap().len(), 1);
    }

    #[test]
    fn a_mark_is_between_lines_also_while_one_is_written() {
        let (half, rest) = PATH.split_at(40);
        let (mut file, log) = log(&format!("{PATCH}\n{half}"));
        let mark = log.mark().unwrap();
        file.write_all(format!("{rest}\n").as_bytes()).unwrap();
        assert_eq!(log.since(mark, |_| true).unwrap().len(), 1);
        assert_eq!(log.mark().unwrap(), AuditMark(file.as_file().metadata().unwrap().len()));
        let (_file, empty) = super::tests::log("");
        assert_eq!(empty.mark().unwrap(), AuditMark::START);
    }

    #[test]
    fn a_line_that_is_no_event_is_an_error() {
        let (_file, log) = log("{}\n");
        assert!(matches!(log.since(AuditMark::START, |_| true), Err(AuditError::Malformed { .. })));
    }
}
