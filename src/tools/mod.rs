//! The commands other than `serve`. Each works through the same store and service as the server.

pub mod demo_events;
pub mod estimate;
pub mod generate;
pub mod import;
