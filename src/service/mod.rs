//! What the service does, apart from how it is asked (`http`, `jobs`, `tools`) and where it is kept (`store`, `cache`).

pub mod answer;
pub mod days;
pub mod directory;
pub mod flights;
pub mod found;
pub mod imports;
pub mod ingest;
pub mod lists;
pub mod nearby;
pub mod outage;
pub mod reads;
pub mod refresh;
pub mod repeats;
pub mod scope;
pub mod shared;
pub mod troubles;
mod versions;
