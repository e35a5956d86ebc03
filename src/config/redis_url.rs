//! `REDIS_URL`: which server, or which cluster.

use deadpool_redis::redis::{ConnectionInfo, IntoConnectionInfo, cluster::ClusterClientBuilder};

use crate::config::{self, SettingsError};

/// A single server, or the nodes by which a cluster is found.
#[derive(Clone)]
pub struct RedisUrl(pub Vec<ConnectionInfo>);

const RIGHT: &str = "must be redis://[user:password@]host:port, rediss:// with TLS, or several of \
                     them with commas between them (a cluster)";

impl RedisUrl {
    /// One URL is a single server, several with commas between them are a cluster. It connects to
    /// nothing.
    pub fn parse(text: &str) -> Result<RedisUrl, SettingsError> {
        let wrong = |why: String| {
            SettingsError::new("redis.url", &redacted(text), &format!("{RIGHT}; {why}"))
        };
        let mut nodes = Vec::new();
        for url in pieces(text) {
            if !url.starts_with("redis://") && !url.starts_with("rediss://") {
                return Err(wrong("it begins with another scheme, or none".into()));
            }
            config::check_escapes("redis.url", "REDIS_URL", url)?;
            // A URL allows it in a host; nobody means it.
            if url.rsplit('@').next().is_some_and(|place| place.contains(',')) {
                return Err(wrong("a comma must be followed by another whole URL".into()));
            }
            nodes.push(url.into_connection_info().map_err(|error| wrong(error.to_string()))?);
        }
        // Its nodes have one password, and the like.
        ClusterClientBuilder::new(nodes.clone())
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(RedisUrl(nodes))
    }

    /// `single` or `cluster`.
    pub fn topology(&self) -> &'static str {
        if self.0.len() == 1 { "single" } else { "cluster" }
    }
}

/// The URLs without their passwords.
pub fn redacted(text: &str) -> String {
    pieces(text).map(config::redacted).collect::<Vec<_>>().join(",")
}

/// Only a comma before another URL separates: one in a password, where it does not belong, must not
/// bring half of it to light.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = [",redis://", ",rediss://"].iter().filter_map(|next| text.find(next)).min();
        rest = end.map(|end| &text[end + 1..]);
        Some(text[..end.unwrap_or(text.len())].trim())
    })
}
