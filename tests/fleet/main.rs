//! A fleet of real parts under faults: Postgres with a standby, Redis, three replicas of the real
//! binary, and a steady load. A judge checks everything that was written and answered. Each
//! scenario breaks one part. The scenarios run one at a time.

#[allow(dead_code)] // shared with the tests of one replica, which use more of it
#[path = "../api/support/mod.rs"]
mod support;

// The judge, which has no knowledge of the service.
mod history;
mod judge;
mod judge_tests;
// The parts and the load.
mod load;
mod parts;
mod proxy;
mod readers;
mod screens;
mod verdict;
mod writers;
// The scenarios.
mod clocks;
mod crashes;
mod deploys;
mod directory;
mod far;
mod frozen;
mod live;
mod losses;
mod postgres;
mod quiet;
mod read_pool;
mod redis;
mod restores;
mod silence;
mod small_disk;
