//! Where rendered summaries are kept between the table and the reader.

pub mod encoding;
mod entry;
pub mod lease;
pub mod memory;
mod recent_changes;
pub mod redis;
