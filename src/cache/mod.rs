//! The memory tier and the Redis tier: copies of rendered summaries between the table and the
//! reader.

mod closed_sessions;
pub mod encoding;
mod entry;
mod fill;
pub mod lease;
pub mod memory;
mod recent_changes;
pub mod redis;
pub mod views;
