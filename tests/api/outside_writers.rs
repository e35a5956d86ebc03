//! Other programs write the source tables with plain SQL beside the running service. No write is
//! missed, no program waits for the service, and no write is counted as drift.

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
