//! `gateway`: the process itself.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::scalars::FilePath;
use super::section::{List, section};
use super::units::{Bytes, Whole};

section! {
    /// The gateway process itself.
    struct Gateway {
        /// The region this gateway stands in; `--region` and PORTCULLIS_REGION win. May be left out when there is one region.
        optional region: String,
        /// Worker threads; 0, the default, is one for each CPU the process may use.
        optional workers: Whole<0, 1024>,
        /// The admin port: health, metrics, status.
        optional admin: Admin,
        /// Endpoint of a SPIFFE Workload API, as in `unix:///run/spire/agent.sock`, which hands out our identity and trust bundles.
        optional workload_api: String,
        /// Networks of proxies in front whose `Forwarded` and `X-Forwarded-For` are believed; nobody by default.
        optional trusted_proxies: List<IpNet>,
        /// What the gateway itself may call.
        optional egress: Egress,
        /// Ceilings on memory.
        optional memory: Memory,
        /// A folder for what outlives a restart: the last SVID and bundles of the Workload API, and whom the admin port denies. Made when it is missing; refused when others can read it.
        optional state_dir: FilePath,
    }
}

section! {
    /// The admin port.
    struct Admin {
        /// Address and port, on loopback; 127.0.0.1:9901 by default.
        optional listen: SocketAddr,
    }
    later { "tls", "token" }
}

section! {
    /// What the gateway itself may call, beyond the URLs that this file names.
    struct Egress {
        /// Host names, addresses or networks; a name or an address with `:port` is allowed at that port alone. A place that a certificate names (`distribution_points`) is called at its scheme's own port only, 80 or 443, unless an entry says another.
        optional allow: List<String>,
    }
}

section! {
    /// Ceilings on memory.
    struct Memory {
        /// For all request bodies held at once while they are judged; 256MiB by default. Beyond it requests are answered 503.
        optional held_bodies: Bytes,
    }
    later { "caches" }
}
