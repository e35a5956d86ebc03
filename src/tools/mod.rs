//! Commands beside the service, one a file or folder.

pub mod estimate;
pub mod generate;
