//! Plan: from a validated Microservice and what was observed to what should be written next. Pure.

pub mod resources;
