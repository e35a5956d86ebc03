//! Reads the command line; `cli.rs` says what there is.

#![forbid(unsafe_code)]

#[tokio::main]
async fn main() -> std::process::ExitCode {
    facility_summary::cli::run().await
}
