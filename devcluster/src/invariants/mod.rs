//! Invariants of traffic, checked over every revision of a namespace and not only at the end.
//!
//! [`Recorder`] collects the revisions of standard objects, [`Checker`] judges them: who may carry weight, make before
//! break, and the like. Nothing here knows which controller writes the objects.

mod account;
mod model;
mod rules;
mod watch;

pub use model::{Change, Fields, Kind, Labels, Object, Revision, Route, Share, Target, reduce};
pub use rules::{Checker, Rule, Settings, Violation};
pub use watch::{RecordError, Recorder};
