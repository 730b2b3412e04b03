//! What can go wrong when children are written.

use thiserror::Error;
use tower::timeout::error::Elapsed;

use crate::plan::object::Kind;

/// How the API server begins when it cannot read what is applied, such as a list with an entry twice; it calls that an
/// internal error.
const UNTYPED: &str = "failed to create typed patch object";

#[derive(Debug, Error)]
pub enum Error {
    /// The API server refused the object, and will until somebody changes something.
    #[error("the API server refuses {} {name}: {message}", kind_name(*kind))]
    Refused { kind: Kind, name: String, message: String, source: Box<kube::Error> },
    /// The object changed since it was read, or appeared meanwhile.
    #[error("{} {name} changed meanwhile", kind_name(*kind))]
    Conflict { kind: Kind, name: String, source: Box<kube::Error> },
    /// The cluster does not have the kind (any more).
    #[error("the cluster has no kind {}", kind_name(*kind))]
    NoSuchKind { kind: Kind, source: Box<kube::Error> },
    /// The object belongs to somebody else.
    #[error("{} {name} belongs to somebody else", kind_name(*kind))]
    Foreign { kind: Kind, name: String },
    /// The object is being deleted; it is made anew when it is gone.
    #[error("{} {name} is being deleted", kind_name(*kind))]
    Leaving { kind: Kind, name: String },
    /// Somebody has changed or deleted the Microservice, and the watch lags behind.
    #[error("the Microservice is not as it was any more")]
    Overtaken,
    /// It cannot be seen whether the Microservice is still as it was, so nothing is written for it.
    #[error("cannot see whether the Microservice is still as it was: {0}")]
    Unconfirmed(#[source] Box<kube::Error>),
    /// The API server could not be reached or did not do its work.
    #[error("cannot write {} {name}: {source}", kind_name(*kind))]
    Transient { kind: Kind, name: String, source: Box<kube::Error> },
}

impl Error {
    /// Sorts a failed write by what can be done about it.
    pub fn write(kind: Kind, name: &str, source: kube::Error) -> Self {
        let name = name.to_owned();
        let (code, message) = match &source {
            kube::Error::Api(status) => (status.code, status.message.clone()),
            _ => (0, String::new()),
        };
        let source = Box::new(source);
        match code {
            409 => Self::Conflict { kind, name, source },
            404 if kind.of_mesh() => Self::NoSuchKind { kind, source },
            400 | 401 | 403 | 404 | 405 | 422 => Self::Refused { kind, name, message, source },
            500 if message.starts_with(UNTYPED) => Self::Refused { kind, name, message, source },
            _ => Self::Transient { kind, name, source },
        }
    }

    /// Whether it is gone as soon as the caches catch up; nobody needs to hear of it.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Leaving { .. } | Self::Overtaken)
    }

    /// The kind of the object that could not be written.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Refused { kind, .. }
            | Self::Conflict { kind, .. }
            | Self::NoSuchKind { kind, .. }
            | Self::Foreign { kind, .. }
            | Self::Leaving { kind, .. }
            | Self::Transient { kind, .. } => Some(*kind),
            Self::Overtaken | Self::Unconfirmed(_) => None,
        }
    }

    /// Whether it is about one object alone, and says nothing of the others. An admission webhook that does not answer is an
    /// internal error of the API server's, and may be about one kind.
    pub(super) fn is_of_one(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Foreign { .. } => true,
            Self::Transient { source, .. } => matches!(&**source, kube::Error::Api(it) if it.code == 500),
            Self::Conflict { .. }
            | Self::NoSuchKind { .. }
            | Self::Leaving { .. }
            | Self::Overtaken
            | Self::Unconfirmed(_) => false,
        }
    }

    /// Whether no answer came in time. The API server waits for the admission webhooks of a kind, one after the other, and says
    /// nothing meanwhile.
    pub(super) fn is_unanswered(&self) -> bool {
        let Self::Transient { source, .. } = self else { return false };
        match &**source {
            kube::Error::Api(status) => status.code == 504,
            kube::Error::Service(error) => error.is::<Elapsed>(),
            _ => false,
        }
    }

    /// Whether a person has to change something before it can succeed.
    pub fn needs_a_person(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Foreign { .. })
    }
}

fn kind_name(kind: Kind) -> String {
    kind.api_resource().kind
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn what_the_api_server_cannot_read_is_refused() {
        let told = |message: &str| {
            let status = Status { code: 500, message: message.to_owned(), ..Status::default() };
            Error::write(Kind::Deployment, "a", kube::Error::Api(Box::new(status)))
        };
        let twice = "failed to create typed patch object (shop/a; apps/v1, Kind=Deployment): \
                     .spec.template.spec.imagePullSecrets: duplicate entries for key [name=\"registry\"]";
        assert!(told(twice).needs_a_person());
        assert!(!told("failed calling webhook \"a.example\": connection refused").needs_a_person());
    }

    #[test]
    fn what_is_refused_for_itself_is_told_from_what_is_wrong_with_all() {
        let api = |code| kube::Error::Api(Box::new(Status { code, ..Status::default() }));
        let is_of_one = |error| Error::write(Kind::Deployment, "a", error).is_of_one();
        assert!(is_of_one(api(422)));
        assert!(is_of_one(api(500)), "a webhook for Deployments that is down stops no failover");
        assert!(!is_of_one(api(503)), "the API server itself is in trouble");
        assert!(!is_of_one(kube::Error::LinesCodecMaxLineLengthExceeded), "it did not answer");
    }

    #[test]
    fn what_is_not_answered_in_time_is_told_from_what_cannot_be_asked() {
        let is_unanswered = |error| Error::write(Kind::Deployment, "a", error).is_unanswered();
        let api = |code| kube::Error::Api(Box::new(Status { code, ..Status::default() }));
        assert!(is_unanswered(api(504)), "the API server has given up");
        assert!(is_unanswered(kube::Error::Service(Elapsed::new().into())), "the client has given up");
        assert!(!is_unanswered(kube::Error::Service("the lease has ended".into())), "nothing is to be written");
        assert!(!is_unanswered(api(503)) && !is_unanswered(api(500)));
    }
}
