//! Other programs write the source tables with plain SQL beside the running service: nothing is
//! missed, nobody waits for us, and no write is ever counted as drift.

mod altered;
mod beside;
mod drift;
mod held;
mod locks;
mod moved;
mod moves;
mod plain;
mod replicated;
mod rights;
mod strangers;
mod unwatched;
