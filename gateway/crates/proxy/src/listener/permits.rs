//! How many connections a listener holds, and how many an address may have and open.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_pipeline::plan::ConnectionLimits;

use crate::lock;

/// Addresses remembered only for their handshakes; beyond this a new address is refused rather than remembered.
const MAX_IDLE_ADDRESSES: usize = 65_536;

/// The connections of one listener.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Debug)]
struct Address {
    open: usize,
    /// When the address will have used none of its handshakes (the generic cell rate algorithm).
    clear_at: Instant,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// The listener is full.
    Listener,
    /// The address has too many.
    Address,
    /// The address opens them too fast.
    Rate,
}

impl Refused {
    /// The word used in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "max-connections",
            Self::Address => "per-address",
            Self::Rate => "handshakes-per-address",
        }
    }
}

/// A connection that was taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    permits: Arc<Permits>,
    address: IpAddr,
}

impl Permits {
    /// Takes a connection from this address, or says why not.
    pub(crate) fn take(
        self: &Arc<Self>,
        client: IpAddr,
        limits: &ConnectionLimits,
        now: Instant,
    ) -> Result<Permit, Refused> {
        let address = payer(client);
        let mut table = lock(&self.table);
        if table.open >= limits.max_connections {
            return Err(Refused::Listener);
        }
        if !table.addresses.contains_key(&address) && table.addresses.len() >= table.open + MAX_IDLE_ADDRESSES
        {
            table
                .addresses
                .retain(|_, address| address.open > 0 || address.clear_at > now);
            if table.addresses.len() >= table.open + MAX_IDLE_ADDRESSES {
                return Err(Refused::Rate);
            }
        }
        let entry = table.addresses.entry(address).or_insert(Address {
            open: 0,
            clear_at: now,
        });
        if entry.open >= limits.per_address {
            return Err(Refused::Address);
        }
        // A second's worth may come at once.
        let step = Duration::from_secs(1) / limits.handshakes_per_address.max(1);
        let clear_at = entry.clear_at.max(now) + step;
        if clear_at > now + Duration::from_secs(1) {
            return Err(Refused::Rate);
        }
        entry.clear_at = clear_at;
        entry.open += 1;
        table.open += 1;
        Ok(Permit {
            permits: Arc::clone(self),
            address,
        })
    }

    /// Connections held.
    #[cfg(test)]
    fn open(&self) -> usize {
        lock(&self.table).open
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut table = lock(&self.permits.table);
        table.open = table.open.saturating_sub(1);
        let is_unused = table.addresses.get_mut(&self.address).is_some_and(|entry| {
            entry.open = entry.open.saturating_sub(1);
            entry.open == 0 && entry.clear_at <= Instant::now()
        });
        if is_unused {
            table.addresses.remove(&self.address);
        }
    }
}

/// Who pays: an IPv4 address, or the /64 that one IPv6 subscriber has.
fn payer(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let prefix = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn limits() -> ConnectionLimits {
        ConnectionLimits {
            max_connections: 3,
            per_address: 2,
            handshakes_per_address: 4,
            ..ConnectionLimits::default()
        }
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let permits = Arc::new(Permits::default());
        let now = Instant::now();

        let first = permits.take(CLIENT, &limits(), now).unwrap();
        let _second = permits.take(CLIENT, &limits(), now).unwrap();

        assert_eq!(
            permits.take(CLIENT, &limits(), now).unwrap_err(),
            Refused::Address
        );
        drop(first);
        assert!(permits.take(CLIENT, &limits(), now).is_ok());
    }

    #[test]
    fn a_listener_is_full_for_everybody() {
        let permits = Arc::new(Permits::default());
        let now = Instant::now();

        let held: Vec<_> = (1..=3)
            .map(|last| {
                permits
                    .take(IpAddr::from([10, 0, 0, last]), &limits(), now)
                    .unwrap()
            })
            .collect();

        assert_eq!(
            permits.take(CLIENT, &limits(), now).unwrap_err(),
            Refused::Listener
        );
        drop(held);
        assert_eq!(permits.open(), 0);
    }

    #[test]
    fn handshakes_come_at_their_rate() {
        let permits = Arc::new(Permits::default());
        let now = Instant::now();

        for _ in 0..4 {
            drop(permits.take(CLIENT, &limits(), now).unwrap());
        }

        assert_eq!(permits.take(CLIENT, &limits(), now).unwrap_err(), Refused::Rate);
        assert!(
            permits
                .take(CLIENT, &limits(), now + Duration::from_millis(250))
                .is_ok()
        );
    }

    #[test]
    fn one_ipv6_subscriber_pays_for_all_its_addresses() {
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let other: IpAddr = "2001:db8::ffff:2".parse().unwrap();

        assert_eq!(payer(one), payer(other));
        assert_ne!(payer(one), payer("2001:db8:0:1::1".parse().unwrap()));
    }
}
