//! The memory tier and the Redis tier: copies of rendered summaries between the table and the
//! reader.

mod closed_sessions;
mod days;
pub mod encoding;
mod entry;
mod fills;
pub mod forms;
pub mod lease;
pub mod memory;
pub mod page;
mod recent_changes;
pub mod redis;
pub mod views;
pub mod watcher;
