//! What keeps an inquiry from being answered: what is wrong, where, and what to do about it. Never with a credential,
//! nor with more of an address than its scheme, host and port.

use thiserror::Error;

use crate::observe::providers::Missing;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(
        "the AnalysisProvider {name:?} is not for the namespace {namespace:?}: name another one, or have an \
         administrator add it to spec.namespaces"
    )]
    OtherNamespaces { name: String, namespace: String },
    #[error(
        "the AnalysisProvider {0:?} answers no own queries, as such a query reads whatever the provider holds: use a \
         ready-made kind, or have an administrator set spec.ownQueries to Allow"
    )]
    OwnQueryDenied(String),
    #[error("the AnalysisProvider says none of prometheus, datadog and http: give one of them")]
    Nothing,
    #[error("the Secret {name:?} of the operator's namespace cannot be read: {why}")]
    Secret { name: String, why: String },
    #[error("the key {key:?} of the Secret {name:?} {why}")]
    SecretKey { name: String, key: String, why: &'static str },
    #[error("{field} is no valid header: mend it in the AnalysisProvider or its Secret")]
    Header { field: String },
    #[error("{field} has no certificate that can be read: PEM is expected")]
    Certificates { field: &'static str },
    #[error("the address in the AnalysisProvider cannot be used: mend it")]
    Address,
    #[error("no client for requests can be made: {0}")]
    Client(String),
    #[error(
        "{address} cannot be reached: {why}; see that it runs and that its address in the AnalysisProvider is right"
    )]
    Unreachable { address: String, why: String },
    #[error("{address} gave no answer within {after}; see how it does, or raise spec.timeout of the AnalysisProvider")]
    Late { address: String, after: String },
    #[error("the answer of {address} broke off: {why}")]
    Broken { address: String, why: String },
    #[error("{address} answered more than {} KiB: ask for one number", .limit >> 10)]
    TooLong { address: String, limit: usize },
    #[error(
        "{address} answered {status} and points elsewhere, which is not followed: give the address itself in the \
         AnalysisProvider"
    )]
    Redirect { address: String, status: u16 },
    #[error("{address} refuses the operator with {status}: mend the credentials of the AnalysisProvider")]
    Forbidden { address: String, status: u16 },
    #[error("{address} answered {status}{said}")]
    Status { address: String, status: u16, said: String },
    #[error("{address} answered with a part of its data only{said}; see how its stores do")]
    Partial { address: String, said: String },
    #[error("{address} answered what is no {expected}: see that its address in the AnalysisProvider is right")]
    Strange { address: String, expected: &'static str },
    #[error("the query comes to {count} numbers, and one is needed: aggregate it, as with {with}")]
    Many { count: usize, with: &'static str },
    #[error("the query comes to {found}, and one number is needed")]
    Kind { found: String },
    #[error("the query comes to an infinite number, as after a division by 0: mend it")]
    Infinite,
    #[error("the placeholder {found:?} is not known: {known} are")]
    Placeholder { found: String, known: String },
    #[error("a placeholder is not closed: write ${{NAME}}")]
    Unclosed,
    #[error("the query is the same for every version, so there is nothing to compare: use ${{version}} in it")]
    SameForAll,
    #[error("{provider} has no ready-made metrics{hint}")]
    NotReady { provider: &'static str, hint: &'static str },
    #[error("{provider} has no place for a query: {hint}")]
    NoQuery { provider: &'static str, hint: &'static str },
    #[error("{0} cannot count requests: leave minRequests out")]
    NoCount(&'static str),
    #[error(
        "the service speaks gRPC, and the statistics of Envoy do not tell which calls failed: set spec.prometheus.stats of \
         the AnalysisProvider to Istio, or give a query of your own"
    )]
    GrpcByEnvoy,
    #[error("the service has no port that carries requests, so nobody counts them: use a query of your own")]
    NoPorts,
}
