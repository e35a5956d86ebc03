//! Leases in Redis: of several replicas one gets the right to refresh a key.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{Script, cmd};
use uuid::Uuid;

use super::redis::{RedisTier, name};
use crate::{domain::summary::Key, redis::CommandError};

const RELEASE: &str = include_str!("lease_release.lua");
static RELEASE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(RELEASE));

/// The right to refresh a key, or to prove the table. It ends when it is released or runs out.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    key: String,
    /// Only the holder knows the token, so only the holder can release the lease.
    token: String,
}

impl RedisTier {
    /// Takes the right to refresh this key for `ttl` (at least 1 ms); `None` while another replica
    /// has it.
    pub async fn lease(
        &self,
        epoch: &str,
        key: &Key,
        ttl: Duration,
    ) -> Result<Option<Lease>, CommandError> {
        self.lease_named(format!("{}:lease", name(epoch, key)), ttl).await
    }

    /// Takes the right to prove the table, in the same way.
    pub async fn proof_lease(
        &self,
        epoch: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, CommandError> {
        self.lease_named(format!("facility-summary:{epoch}:proof:lease"), ttl).await
    }

    async fn lease_named(&self, key: String, ttl: Duration) -> Result<Option<Lease>, CommandError> {
        let lease = Lease { key, token: Uuid::new_v4().to_string() };
        let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut command = cmd("SET");
        command.arg(&lease.key).arg(&lease.token).arg("NX").arg("PX").arg(milliseconds);
        let taken: Option<String> = self.link.query("lease", &command).await?;
        Ok(taken.map(|_| lease))
    }

    /// Releases a lease. `false`: it had run out before.
    pub async fn release(&self, lease: &Lease) -> Result<bool, CommandError> {
        self.link
            .eval("release", &RELEASE_SCRIPT, RELEASE, &lease.key, &[lease.token.as_bytes()])
            .await
    }
}
