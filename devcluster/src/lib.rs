//! The development and test cluster of microservice-operator: a real control plane, with nodes that run nothing.
//!
//! ```no_run
//! # async fn example() -> Result<(), devcluster::Error> {
//! use devcluster::{Cluster, Options};
//!
//! let cluster = Cluster::start(Options::default()).await?;
//! let mark = cluster.settled_mark().await?;
//! // … work with cluster.client() …
//! let writes = cluster.audit()?.since(mark, |event| event.is_write())?;
//! # Ok(())
//! # }
//! ```
//!
//! A started [`Cluster`] ends when it is dropped, and when its process dies, however it dies.

mod audit;
mod bootstrap;
mod bound;
mod client;
mod cluster;
mod components;
mod control_plane;
mod dice;
mod error;
pub mod faults;
mod files;
mod grpc;
pub mod images;
pub mod invariants;
mod judged;
mod kind;
mod kubeconfig;
mod lifecycle;
pub mod load;
mod network;
mod options;
pub mod paths;
mod pki;
mod ports;
mod prerequisites;
pub mod process;
pub mod progress;
mod real;
pub mod record;
pub mod relay;
mod sandbox;
pub mod supervisor;
pub mod tools;
mod users;
pub mod workload;

pub use audit::{AuditError, AuditEvent, AuditLog, AuditMark};
pub use bound::Bound;
pub use cluster::Cluster;
pub use components::Component;
pub use components::envoy::Role as EnvoyRole;
pub use components::kwok::BEHAVIOR;
pub use dice::Dice;
pub use error::Error;
pub use kind::node as kind_node;
pub use lifecycle::{Up, down, kubeconfig_of, up};
pub use network::Network;
pub use options::{Nodes, Options};
pub use progress::Progress;
pub use tools::{Tool, tool};
pub use users::TENANTS;
