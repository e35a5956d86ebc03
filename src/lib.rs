//! One fresh summary row for each blood-bank facility and local day, served from memory.
//!
//! Where to find things: the routes in `http/routes.rs`, the jobs in `jobs/mod.rs`, the SQL in
//! `sql/` and its callers in `store`, the tiers of a read in `service/reads`, the writing of events
//! in `service/ingest`, the refresh in `service/refresh`. `startup` puts the parts together.

#![forbid(unsafe_code)]

pub mod access;
pub mod back_off;
pub mod cache;
pub mod changes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod directory;
pub mod domain;
pub mod http;
pub mod jobs;
pub mod live;
pub mod metrics;
pub mod protocol;
pub mod redis;
pub mod service;
pub mod startup;
pub mod store;
pub mod telemetry;
pub mod tools;
