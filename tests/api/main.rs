//! Tests from outside: the real binary as a process of its own, real databases, real HTTP. One binary, so that it links once and all
//! tests share one private Postgres; a file a subject.

// Not every helper is used by every state of the tests.
#[allow(dead_code)]
mod support;

mod bad_start;
mod crashes;
mod harness;
mod midnight;
mod outside_writers;
mod reads;
mod smoke;
mod steps;
mod store_contract;
