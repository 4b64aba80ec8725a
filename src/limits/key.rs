//! Whose bucket it is.

use std::net::IpAddr;

/// Names a bucket within its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The one bucket of a kind that counts everybody together.
    pub const EVERYBODY: Self = Self([0; 32]);

    /// What belongs to two.
    #[must_use]
    pub const fn pair(one: [u8; 16], other: [u8; 16]) -> Self {
        let mut key = [0; 32];
        let (left, right) = key.split_at_mut(16);
        left.copy_from_slice(&one);
        right.copy_from_slice(&other);
        Self(key)
    }

    /// What belongs to one.
    #[must_use]
    pub const fn one(whose: [u8; 16]) -> Self {
        Self::pair(whose, [0; 16])
    }

    /// Its bytes, for a store elsewhere.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// An address as it is counted: of IPv6 the network of 64 bits, because whoever has one address of it has all. Callers
/// without an address are one.
#[must_use]
pub(super) fn place(address: Option<IpAddr>) -> [u8; 16] {
    match address.map(|address| address.to_canonical()) {
        None => [0; 16],
        Some(IpAddr::V4(address)) => address.to_ipv6_mapped().octets(),
        Some(IpAddr::V6(address)) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            octets
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> [u8; 16] {
        place(Some(text.parse().unwrap()))
    }

    #[test]
    fn a_network_of_ipv6_is_one_place_and_each_address_of_ipv4_another() {
        assert_eq!(of("2001:db8:1:2::7"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::7"), of("2001:db8:1:3::7"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(place(None), of("192.0.2.1"));
    }
}
