//! Minimal types of other projects' kinds: just what is written and read back here.

pub mod istio;
