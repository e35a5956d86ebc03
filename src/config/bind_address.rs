//! The address that the service listens on: a loopback address only, while there is no sign-in.

use std::net::SocketAddr;

use super::SettingsError;

/// Refuses what is no address, and every address that other machines can reach.
pub(super) fn check(bind: &str) -> Result<(), SettingsError> {
    let right = match bind.parse::<SocketAddr>() {
        Err(_) => "must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080",
        Ok(address) if !address.ip().is_loopback() => {
            "must be a loopback address while there is no sign-in; put a proxy that signs in \
             before it"
        }
        Ok(_) => return Ok(()),
    };
    Err(SettingsError::new("server.bind", &bind, right))
}
