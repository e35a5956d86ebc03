//! `REDIS_URL`: which server, or which cluster.

use deadpool_redis::redis::{ConnectionInfo, IntoConnectionInfo, cluster::ClusterClientBuilder};

use crate::config::{self, SettingsError};

/// A single server, or the nodes of a cluster that it may be found by.
#[derive(Debug, Clone)]
pub enum Target {
    Single(ConnectionInfo),
    Cluster(Vec<ConnectionInfo>),
}

const RIGHT: &str =
    "must be redis://[user:password@]host:port, rediss:// with TLS, or several of them with commas between them (a cluster)";

impl Target {
    /// One URL is a single server, several with commas between them are a cluster. It connects to nothing.
    pub fn parse(text: &str) -> Result<Target, SettingsError> {
        let wrong = |why: String| SettingsError::new("redis.url", &redacted(text), &format!("{RIGHT}; {why}"));
        let mut nodes = Vec::new();
        for url in pieces(text) {
            if !url.starts_with("redis://") && !url.starts_with("rediss://") {
                return Err(wrong("it begins with another scheme, or none".into()));
            }
            nodes.push(url.into_connection_info().map_err(|error| wrong(error.to_string()))?);
        }
        if nodes.len() == 1 {
            return Ok(Target::Single(nodes.remove(0)));
        }
        ClusterClientBuilder::new(nodes.clone()).build().map_err(|error| wrong(error.to_string()))?;
        Ok(Target::Cluster(nodes))
    }

    pub const fn topology(&self) -> &'static str {
        match self {
            Target::Single(_) => "single",
            Target::Cluster(_) => "cluster",
        }
    }
}

/// The URLs without their passwords.
pub fn redacted(text: &str) -> String {
    pieces(text).map(config::redacted).collect::<Vec<_>>().join(",")
}

/// Only a comma before another URL separates: one in a password, where it does not belong, must not bring half of it to light.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = [",redis://", ",rediss://"].iter().filter_map(|next| text.find(next)).min();
        rest = end.map(|end| &text[end + 1..]);
        Some(text[..end.unwrap_or(text.len())].trim())
    })
}
