//! What the service does, apart from how it is asked (`http`, `jobs`, `tools`) and where it is kept
//! (`store`, `cache`).

pub mod answer;
pub mod days;
pub mod directory;
pub mod imports;
pub mod ingest;
pub mod lists;
pub mod log_repeats;
pub mod log_throttle;
pub mod outage;
pub mod reads;
pub mod refresh;
pub mod refresh_coalescer;
pub mod refresh_lease;
pub mod refresh_scope;
pub mod standby_reads;
pub mod tier_row;
mod versions;
