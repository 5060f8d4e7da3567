//! What is fixed until restart: sockets, threads, and whom the gateway itself may call.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use portcullis_model::{ListenerId, RegionId};

/// Everything that a reload cannot change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BootPlan {
    /// The region this gateway stands in.
    pub region: RegionId,
    /// Every listener with its addresses, in the order written.
    pub listeners: Vec<BootListener>,
    /// The admin port's address.
    pub admin: SocketAddr,
    /// Worker threads; 0: one per CPU the process may use.
    pub workers: usize,
    /// The Workload API's endpoint, as in `unix:///run/spire/agent.sock`.
    pub workload_api: Option<String>,
    /// Hosts the gateway itself may call beyond the URLs that the file names.
    pub egress_allow: Vec<EgressHost>,
    /// Where access-log lines go.
    pub access_log: AccessLogDestination,
    /// The folder for what outlives a restart.
    pub state_dir: Option<PathBuf>,
}

/// A listener's sockets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BootListener {
    /// The listener.
    pub id: ListenerId,
    /// Where it listens; never empty.
    pub addresses: Vec<SocketAddr>,
}

/// A host the gateway itself may call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EgressHost {
    /// A host name, lower case.
    Name(String),
    /// Every address of a network.
    Network(IpNet),
    /// A host name, lower case, at this port alone.
    NameAt(String, u16),
    /// An address at this port alone.
    AddressAt(SocketAddr),
}

/// Where access-log lines go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum AccessLogDestination {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to this file.
    File(PathBuf),
    /// Nowhere.
    None,
}
