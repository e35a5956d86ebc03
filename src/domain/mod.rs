//! The words of the business, as types: no I/O, no SQL, no HTTP in here.
//!
//! Instants are milliseconds since 1970 (`_ms`), always by the database's clock where they decide
//! anything.

pub mod blood_type;
pub mod day;
pub mod event;
pub mod facility;
pub mod names;
pub mod summary;
pub mod zones;
