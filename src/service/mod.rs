//! What the service does: events, reads, lists and refreshes. How it is asked stands in `http`,
//! `jobs` and `tools`; where its data is kept stands in `store` and `cache`.

pub mod carried;
pub mod freshness_request;
pub mod imports;
pub mod ingest;
pub mod lists;
pub mod outage;
pub mod ranges;
pub mod reads;
pub mod refresh;
pub mod tier_row;
