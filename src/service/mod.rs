//! What the service does, apart from how it is asked (`http`, `jobs`, `tools`) and where it is kept
//! (`store`, `cache`).

pub mod ingest;
pub mod lists;
pub mod outage;
pub mod reads;
pub mod refresh;
