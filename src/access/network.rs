//! What counts as one address, wherever something is counted for addresses.

use std::net::IpAddr;

/// The network of one client: an IPv4 address, or the first 64 bits of an IPv6 address, of which
/// one client has all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(u64);

impl Network {
    /// That of all whose address is not known.
    pub const UNKNOWN: Network = Network(0);

    /// The network of an address. An IPv4 address within IPv6 is that IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        Network(match address.to_canonical() {
            // No IPv6 address in use begins like this.
            IpAddr::V4(address) => (1 << 32) | u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_and_a_mapped_one_is_that_of_ipv4() {
        let of = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
