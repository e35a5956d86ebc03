//! Logs: JSON for machines, readable lines for people. A read is logged at debug where memory or
//! Redis answered it, otherwise with one line at info.

mod bounded;
pub mod log_repeats;
pub mod log_throttle;

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, LogSettings, SettingsError};
use bounded::Bounded;

/// Where the log of a command goes: that of a service to standard output, that of a tool to
/// standard error, beside its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The framework logs an error for each request that it cannot parse. The client gets a 400, and
/// may send any number of such requests. This directive stands before those of the setting: of two
/// directives for one target the later counts.
const UNPARSED_REQUESTS: &str = "actix_http::h1::dispatcher=off";

/// Installs the subscriber; call it once in a process. `Err` where `log.filter` cannot be parsed.
pub fn init(settings: &LogSettings, output: Output) -> Result<(), SettingsError> {
    let filter =
        EnvFilter::try_new(format!("{UNPARSED_REQUESTS},{}", settings.filter)).map_err(|e| {
            SettingsError::new(
                "log.filter",
                &settings.filter,
                &format!(
                    "must be a level such as info, or directives such as \
                     info,facility_summary=debug ({e})"
                ),
            )
        })?;
    let is_json = matches!(settings.format, LogFormat::Json);
    let writer = move || -> Bounded<Box<dyn std::io::Write>> {
        let inner: Box<dyn std::io::Write> = match output {
            Output::Stdout => Box::new(std::io::stdout()),
            Output::Stderr => Box::new(std::io::stderr()),
        };
        Bounded::new(inner, is_json)
    };
    let is_terminal = match output {
        Output::Stdout => std::io::stdout().is_terminal(),
        Output::Stderr => std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let installed = match settings.format {
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(writer)).try_init(),
        LogFormat::Pretty => registry
            .with(fmt::layer().with_target(false).with_ansi(is_terminal).with_writer(writer))
            .try_init(),
    };
    if installed.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, "panic: {}", panic.payload_as_str().unwrap_or("no message"));
        }));
    }
    Ok(())
}
