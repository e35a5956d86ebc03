//! Where rendered summaries are kept between the table and the reader.

pub mod encoding;
pub mod memory;
