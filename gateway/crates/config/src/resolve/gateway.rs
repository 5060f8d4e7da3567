//! `gateway` and `telemetry`, and what of the file is fixed until restart.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use portcullis_model::{ListenerId, Origin, RegionId};

use super::Resolver;
use crate::boot::{AccessLogDestination, BootListener, BootPlan, EgressHost};
use crate::file::GatewayFile;
use crate::file::patterns::canonical_host;
use crate::file::scalars::FilePath;
use crate::file::section::{At, entries, items, one_or_many};
use crate::file::telemetry::LogFormat;
use crate::sources::Files;
use crate::state_dir::{STATE_DIR, judge_state_dir};

/// Where the admin port stands by default.
pub(crate) const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);
/// Room for 256 bodies of the default limit of a route with a contract.
const DEFAULT_HELD_BODIES: u64 = 256 << 20;

pub(super) fn trusted_proxies(file: &GatewayFile) -> Vec<IpNet> {
    let gateway = file.gateway.get().into_iter();
    gateway
        .flat_map(|gateway| items(&gateway.trusted_proxies))
        .map(|network| network.value)
        .collect()
}

pub(super) fn held_bodies(file: &GatewayFile) -> u64 {
    let memory = file.gateway.get().and_then(|gateway| gateway.memory.get());
    memory
        .and_then(|memory| memory.held_bodies.get())
        .map_or(DEFAULT_HELD_BODIES, |size| size.0)
}

pub(super) fn boot(file: &GatewayFile, region: &RegionId, resolver: &mut Resolver<'_, '_>) -> BootPlan {
    let gateway = file.gateway.get();
    let workers = gateway.and_then(|gateway| gateway.workers.get());
    let egress = gateway.and_then(|gateway| gateway.egress.get());
    BootPlan {
        region: region.clone(),
        listeners: entries(&file.listeners)
            .filter_map(|entry| {
                let listener = entry.value.get()?;
                let addresses = one_or_many(&listener.listen)
                    .map(|address| address.value)
                    .collect();
                Some(BootListener {
                    id: ListenerId::from(entry.name.value.as_str()),
                    addresses,
                })
            })
            .collect(),
        admin: admin(file),
        workers: workers
            .and_then(|workers| usize::try_from(workers.0).ok())
            .unwrap_or(0),
        workload_api: gateway
            .and_then(|gateway| gateway.workload_api.at())
            .and_then(|at| workload_api(at, resolver)),
        egress_allow: egress
            .into_iter()
            .flat_map(|egress| items(&egress.allow))
            .filter_map(|host| egress_host(host, resolver))
            .collect(),
        access_log: access_log(file, resolver),
        state_dir: gateway
            .and_then(|gateway| gateway.state_dir.at())
            .map(|at| state_dir(at, resolver)),
    }
}

/// The admin port's address.
pub(crate) fn admin(file: &GatewayFile) -> SocketAddr {
    let admin = file.gateway.get().and_then(|gateway| gateway.admin.get());
    admin
        .and_then(|admin| admin.listen.get())
        .copied()
        .unwrap_or(DEFAULT_ADMIN)
}

fn workload_api(endpoint: &At<String>, resolver: &mut Resolver<'_, '_>) -> Option<String> {
    let is_socket = endpoint
        .value
        .strip_prefix("unix://")
        .is_some_and(|path| path.starts_with('/'));
    if !is_socket {
        let message = format!("{:?} is not the endpoint of a Workload API", endpoint.value);
        let hint = "write one like unix:///run/spire/agent.sock";
        resolver.error_with_hint("bad-value", &endpoint.origin, message, hint);
        return None;
    }
    Some(endpoint.value.clone())
}

/// The folder, beside the file that names it; offline it stands on another machine.
fn state_dir(path: &At<FilePath>, resolver: &mut Resolver<'_, '_>) -> PathBuf {
    let name = Files::name_beside(&path.origin, &path.value.0);
    let folder = PathBuf::from(name.as_ref());
    if !resolver.files.is_offline()
        && let Err(flaw) = judge_state_dir(&folder)
    {
        let message = format!("{name:?} cannot hold the gateway's state: {flaw}");
        resolver.error_with_hint(STATE_DIR, &path.origin, message, flaw.advice());
    }
    folder
}

fn egress_host(host: &At<String>, resolver: &mut Resolver<'_, '_>) -> Option<EgressHost> {
    let (address, network) = match host.value.parse::<SocketAddr>() {
        Ok(address) => (Some(address), Ok(IpNet::from(address.ip()))),
        Err(_) => (
            None,
            host.value
                .parse::<IpNet>()
                .or_else(|_| host.value.parse::<IpAddr>().map(IpNet::from)),
        ),
    };
    if let Ok(network) = network {
        let network = network.trunc();
        if never_called().any(|never| never.contains(&network)) {
            let message = format!("{network} is link-local; the gateway never calls it");
            resolver.error("insecure-egress", &host.origin, message);
            return None;
        }
        return match address {
            Some(address) => port_of(host, address.port(), resolver).map(|_| EgressHost::AddressAt(address)),
            None => Some(EgressHost::Network(network)),
        };
    }
    let (name, port) = match host.value.split_once(':') {
        Some((name, port)) => {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|_| is_number).unwrap_or(0);
            (name, Some(port_of(host, port, resolver)?))
        }
        None => (host.value.as_str(), None),
    };
    match (canonical_host(name), port) {
        (Ok(name), Some(port)) => Some(EgressHost::NameAt(name, port)),
        (Ok(name), None) => Some(EgressHost::Name(name)),
        (Err(flaw), _) => {
            resolver.problems.push(flaw.at(&host.origin));
            None
        }
    }
}

/// The port of an entry, which is never 0.
fn port_of(host: &At<String>, port: u16, resolver: &mut Resolver<'_, '_>) -> Option<u16> {
    if port > 0 {
        return Some(port);
    }
    let message = format!("{:?} has no port that can be called", host.value);
    resolver.error("bad-value", &host.origin, message);
    None
}

/// Networks where clouds keep the metadata of machines.
fn never_called() -> impl Iterator<Item = IpNet> {
    ["169.254.0.0/16", "fe80::/10", "fd00:ec2::/32"]
        .into_iter()
        .filter_map(|network| network.parse().ok())
}

fn access_log(file: &GatewayFile, resolver: &mut Resolver<'_, '_>) -> AccessLogDestination {
    let log = file
        .telemetry
        .get()
        .and_then(|telemetry| telemetry.access_log.get());
    // One format so far; another one has to be carried into the boot plan.
    let LogFormat::Json = log.map_or(LogFormat::Json, |log| log.format.or(LogFormat::Json));
    let Some(to) = log.and_then(|log| log.to.at()) else {
        return AccessLogDestination::Stdout;
    };
    match to.value.as_str() {
        "stdout" => AccessLogDestination::Stdout,
        "stderr" => AccessLogDestination::Stderr,
        "none" => AccessLogDestination::None,
        path => {
            let path = PathBuf::from(Files::name_beside(&to.origin, path).as_ref());
            if !resolver.files.is_offline() {
                refuse_unwritable(&path, &to.origin, resolver);
            }
            AccessLogDestination::File(path)
        }
    }
}

/// What would keep the gateway from starting, as far as it can be seen without writing.
fn refuse_unwritable(path: &Path, origin: &Origin, resolver: &mut Resolver<'_, '_>) {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let (message, hint) = if path.is_dir() {
        let message = format!("the access log {:?} is a folder", path.display());
        (message, "write the path of a file, `stdout`, `stderr` or `none`")
    } else if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let message = format!("there is no folder {:?} for the access log", folder.display());
        (
            message,
            "make it first: the gateway makes the file, not its folder",
        )
    } else {
        return;
    };
    resolver.error_with_hint("unwritable-file", origin, message, hint);
}
