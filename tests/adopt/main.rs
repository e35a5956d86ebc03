//! The service beside operational databases. Each folder here is the schema of another owner, with
//! rows, programs that write them, the mapping, and the owner's own query for the figures. Together
//! they have what real systems have: `README.md` lists it.
//!
//! Each test runs the real binary with a role that may read the mapped columns only. The programs
//! of the owner write while readers ask; whenever they pause, all answers must equal the owner's
//! query. ADOPT_SECONDS says how long they write (`make test-adopt`).

#[allow(dead_code)] // shared with the tests of the service's own tables, which use more of it
#[path = "../api/support/mod.rs"]
mod support;

mod beside;
mod figures;
mod fixture;
mod init;
mod quarter_of_an_hour;
mod under_writers;
mod writers;
