//! Other programs write the source tables with plain SQL while the service runs. The service misses
//! no write, no program waits for the service, and no write is counted as drift.

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
