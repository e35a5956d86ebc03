//! Tests from outside: the real binary as a process of its own, real databases, real HTTP. All of
//! them are one binary: it is linked once, and all tests share one private Postgres. Each file has
//! one subject.

// Some helpers are used by a part of the tests only.
#[allow(dead_code)] // shared with the fleet, which has more ways to fail
#[path = "../fleet/proxy.rs"]
mod proxy;
#[allow(dead_code)]
mod support;

mod access;
mod bad_input;
mod bad_start;
mod clock_set_back;
mod cold_reads;
mod commands;
mod crashes;
mod day_of_all;
mod demo;
mod deploys;
mod differences;
mod directory;
mod edge;
mod events;
mod freshness;
mod generate;
mod harness;
mod import;
mod listings;
mod live;
mod log_lines;
mod managed_servers;
mod metrics;
mod midnight;
mod no_cache;
mod odd_files;
mod odd_rows;
mod outage;
mod outside_writers;
mod properties;
mod quiet_night;
mod ranges;
mod reads;
mod redis_stream;
mod redis_tier;
mod releases;
mod replicas;
mod restores;
mod schedule;
mod schemas;
mod server_settings;
mod small_pools;
mod smoke;
mod sources;
mod stampede;
mod steps;
mod store_contract;
mod tokens;
mod two_servers;
mod zones;
