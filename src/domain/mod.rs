//! The types of the business. They do no I/O, no SQL and no HTTP.
//!
//! Instants are milliseconds since 1970 (`_ms`). Where an instant decides something, it comes from
//! the database's clock.

pub mod access;
pub mod blood_type;
pub mod day;
pub mod difference;
pub mod event;
pub mod facility;
pub mod names;
mod statement_precedence;
pub mod summary;
pub mod totals;
pub mod zones;
