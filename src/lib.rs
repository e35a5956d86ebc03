//! One fresh summary row per blood-bank facility and local day, served from memory.
//!
//! Where things are: routes in `http/mod.rs`, jobs in `jobs/mod.rs`, SQL in `sql/` behind `store`,
//! the freshness ladder in `service/reads.rs`, writes in `service/ingest`, the one refresh in
//! `service/refresh.rs`. `startup.rs` is where the parts meet.

pub mod cache;
pub mod changes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod directory;
pub mod domain;
pub mod http;
pub mod jobs;
pub mod metrics;
pub mod protocol;
pub mod redis;
pub mod service;
pub mod startup;
pub mod store;
pub mod telemetry;
pub mod tools;
