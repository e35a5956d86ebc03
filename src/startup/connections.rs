//! How many connections each address has; of IPv6, each network of 64 bits. A connection that is
//! one too many is read no further; a request that came with it is answered 429.

use std::{any::Any, net::IpAddr, sync::Arc, time::Duration};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use dashmap::{DashMap, Entry};
use rustix::net::{Shutdown, shutdown};
use socket2::SockRef;

use crate::{
    access::network::Network,
    config::{ServerSettings, SettingsError},
    http::{client_address::TrustedProxies, edge::TooMany},
    metrics::Metrics,
};

/// The connections of each address.
pub struct Connections {
    /// The most of one address; 0: no limit.
    most: usize,
    proxies: TrustedProxies,
    of: DashMap<Network, usize>,
    metrics: Arc<Metrics>,
}

/// How long a client may leave bytes unacknowledged. After that its network counts as lost, and the
/// connection ends: a reader of events, who is sent heartbeats, holds no place for long.
const UNHEARD: Duration = Duration::from_secs(20);

/// A connection that counts for its address, until it ends.
struct Counted {
    network: Network,
    all: Arc<Connections>,
}

impl Connections {
    /// None yet, with the bound of the settings.
    ///
    /// # Errors
    /// The trusted proxies are wrong.
    pub fn new(
        settings: &ServerSettings,
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<Self>, SettingsError> {
        Ok(Arc::new(Connections {
            most: settings.connections_per_address,
            proxies: TrustedProxies::new(settings.proxies()?, settings.forwarded_header),
            of: DashMap::new(),
            metrics: metrics.clone(),
        }))
    }

    /// Counts a connection that begins, or refuses it. `data` goes with the connection.
    pub fn begin(self: &Arc<Self>, connection: &dyn Any, data: &mut Extensions) {
        let Some(stream) = tcp(connection) else { return };
        if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(UNHEARD)) {
            tracing::debug!(%error, "a connection has the time-outs of the system");
        }
        if self.most == 0 {
            return;
        }
        let Ok(peer) = stream.peer_addr() else { return };
        let address = peer.ip().to_canonical();
        if self.proxies.has(address) {
            return;
        }
        match self.count(address) {
            Some(counted) => {
                data.insert(counted);
            }
            None => {
                self.metrics.connections_refused.inc();
                data.insert(TooMany { most: self.most });
                // Where the connection has sent nothing yet, this ends it.
                if let Err(error) = shutdown(stream, Shutdown::Read) {
                    tracing::debug!(%error, "a connection that is one too many was closed already");
                }
            }
        }
    }

    fn count(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let network = Network::of(address);
        let mut count = self.of.entry(network).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Counted { network, all: self.clone() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.all.of.entry(self.network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The TCP connection of a connection with or without TLS.
fn tcp(connection: &dyn Any) -> Option<&TcpStream> {
    match connection.downcast_ref::<TlsStream<TcpStream>>() {
        Some(tls) => Some(tls.get_ref().0),
        None => connection.downcast_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_at_once_and_none_is_kept_for_ever() {
        let settings = ServerSettings { connections_per_address: 2, ..ServerSettings::default() };
        let all = Connections::new(&settings, &Arc::new(Metrics::new().unwrap())).unwrap();
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"];
        let [one, other, six, neighbour, far] = addresses.map(|ip| ip.parse().unwrap());
        let held = [all.count(one).unwrap(), all.count(one).unwrap()];
        assert!(all.count(one).is_none());
        assert!(all.count(other).is_some(), "another address has its own");
        let of_six = [all.count(six).unwrap(), all.count(neighbour).unwrap()];
        assert!(all.count(neighbour).is_none(), "one client has all addresses of a /64");
        assert!(all.count(far).is_some());
        drop((held, of_six));
        assert!(all.of.is_empty(), "nothing is kept of connections that have ended");
        assert!(all.count(one).is_some());
    }
}
