//! The address that the service listens on: a loopback address only, where there is no sign-in.

use std::net::SocketAddr;

use super::SettingsError;

/// Refuses what is no address. Without sign-in, refuses every address that other machines can
/// reach: whoever reaches the service may then everything.
pub(super) fn check(bind: &str, has_sign_in: bool) -> Result<(), SettingsError> {
    let right = match bind.parse::<SocketAddr>() {
        Err(_) => "must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080",
        Ok(address) if !address.ip().is_loopback() && !has_sign_in => {
            "must be a loopback address while there is no sign-in; set auth.sign_in = \"on\" \
             (FACILITY_SUMMARY__AUTH__SIGN_IN=on) and make a key with `facility-summary key add`"
        }
        Ok(_) => return Ok(()),
    };
    Err(SettingsError::new("server.bind", &bind, right))
}
