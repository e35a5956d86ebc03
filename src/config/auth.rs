//! The settings of sign-in.

use serde::Deserialize;

use super::Switch;

/// `[auth]`: who may use the service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// Whether each request needs a credential. Off: everybody who reaches the service may
    /// everything, so only a loopback address is bound.
    pub sign_in: Switch,
    /// How long the audit log, and keys that have ended, are kept, in days.
    pub audit_log_days: u32,
}

impl Default for AuthSettings {
    fn default() -> Self {
        AuthSettings { sign_in: Switch::Off, audit_log_days: 400 }
    }
}

impl AuthSettings {
    /// Whether each request needs a credential.
    pub fn is_on(&self) -> bool {
        self.sign_in == Switch::On
    }
}
