//! `REDIS_URL`: a single server or a cluster.

use deadpool_redis::redis::{ConnectionInfo, IntoConnectionInfo, cluster::ClusterClientBuilder};

use crate::config::{self, SettingsError};

/// A single server, or the nodes by which a cluster is found.
#[derive(Clone)]
pub struct RedisUrl(pub Vec<ConnectionInfo>);

const RIGHT: &str = "must be redis://[user:password@]host:port, rediss:// with TLS, or several of \
                     them with commas between them (a cluster)";

impl RedisUrl {
    /// Parses one URL as a single server, and several URLs with commas between them as a cluster.
    /// It connects to nothing. The error names the setting and shows no password.
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
            // The URL syntax allows a comma in a host, but no host name has one.
            if url.rsplit('@').next().is_some_and(|place| place.contains(',')) {
                return Err(wrong("a comma must be followed by another whole URL".into()));
            }
            nodes.push(url.into_connection_info().map_err(|error| wrong(error.to_string()))?);
        }
        // The builder checks what all nodes of a cluster must share, such as the password.
        ClusterClientBuilder::new(nodes.clone())
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(RedisUrl(nodes))
    }

    /// `single` or `cluster`, for the log.
    pub fn topology(&self) -> &'static str {
        if self.0.len() == 1 { "single" } else { "cluster" }
    }
}

/// The URLs with their passwords replaced by `***`.
pub fn redacted(text: &str) -> String {
    pieces(text).map(config::redacted).collect::<Vec<_>>().join(",")
}

/// Splits only at a comma that another URL follows. A password must not contain a comma, but if it
/// does, a split there would show half of it.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = [",redis://", ",rediss://"].iter().filter_map(|next| text.find(next)).min();
        rest = end.map(|end| &text[end + 1..]);
        Some(text[..end.unwrap_or(text.len())].trim())
    })
}
