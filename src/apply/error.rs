//! What can go wrong when children are written.

use thiserror::Error;

use crate::plan::object::Kind;

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
            _ => Self::Transient { kind, name, source },
        }
    }

    /// Whether it is gone as soon as the caches catch up; nobody needs to hear of it.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Leaving { .. } | Self::Overtaken)
    }

    /// Whether it concerns one object alone, and not where requests go: the others can be written all the same. An admission
    /// webhook that does not answer is an internal error of the API server's, and may be about one kind.
    pub fn is_local(&self) -> bool {
        let kind = match self {
            Self::Refused { kind, .. } | Self::Foreign { kind, .. } => kind,
            Self::Transient { kind, source, .. } if matches!(&**source, kube::Error::Api(it) if it.code == 500) => kind,
            Self::Conflict { .. }
            | Self::NoSuchKind { .. }
            | Self::Leaving { .. }
            | Self::Overtaken
            | Self::Unconfirmed(_)
            | Self::Transient { .. } => return false,
        };
        !kind.guards_traffic()
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
    fn what_one_object_is_refused_for_stops_no_other() {
        let api = |code| kube::Error::Api(Box::new(Status { code, ..Status::default() }));
        let is_local = |kind, error| Error::write(kind, "a", error).is_local();
        assert!(is_local(Kind::Deployment, api(422)));
        assert!(is_local(Kind::Deployment, api(500)), "a webhook for Deployments that is down stops no failover");
        assert!(!is_local(Kind::VirtualService, api(500)));
        assert!(!is_local(Kind::Deployment, api(503)), "the API server itself is in trouble");
        assert!(!is_local(Kind::Deployment, kube::Error::LinesCodecMaxLineLengthExceeded), "it did not answer");
    }
}
