//! The proxies: where they are, what they claim, how each is told to do the same work.

mod envoy;
mod haproxy;
mod nginx;
mod portcullis;

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::args::Args;
use crate::child::Running;
use crate::keys::Keys;
use crate::machine::Places;
use crate::scenario::{Guard, Load, Scenario, Session, Setup};

/// A proxy that takes part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Proxy {
    Portcullis,
    /// Portcullis with a policy that is evaluated every time: what remembering decisions is worth.
    Forgetful,
    Nginx,
    Haproxy,
    Envoy,
}

impl Proxy {
    const ALL: [Self; 4] = [Self::Portcullis, Self::Nginx, Self::Haproxy, Self::Envoy];

    /// True for us, however configured.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Portcullis | Self::Forgetful)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::Forgetful => "forgetful",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// Whether it can do what the scenario asks.
    pub(crate) fn claims(self, scenario: &Scenario) -> bool {
        let checks = match scenario.setup.guard {
            Guard::None => self != Self::Forgetful,
            Guard::Token(_) if self == Self::Forgetful => false,
            // nginx checks tokens in its commercial edition only.
            Guard::Token(_) | Guard::Chain => self != Self::Nginx,
        };
        // nginx and HAProxy of Debian 12 stand on OpenSSL 3.0, which has no hybrid key exchange.
        let speaks = match scenario.load {
            Load::Handshake(Session::PostQuantum) => matches!(self, Self::Portcullis | Self::Envoy),
            _ => true,
        };
        checks && speaks
    }
}

/// A proxy with its program.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub proxy: Proxy,
    pub program: PathBuf,
    pub version: String,
}

/// The proxies that are here and wanted; says on standard error which are not.
pub(crate) fn find(args: &Args) -> Result<Vec<Found>> {
    for name in &args.proxies {
        if !Proxy::ALL.iter().any(|proxy| proxy.name() == name) {
            return Err(format!(
                "there is no proxy \"{name}\": portcullis, nginx, haproxy, envoy"
            ));
        }
    }
    let mut found = Vec::new();
    for proxy in Proxy::ALL {
        if !args.proxies.is_empty() && !args.proxies.iter().any(|name| name == proxy.name()) {
            continue;
        }
        let program = match proxy {
            Proxy::Portcullis | Proxy::Forgetful => Some(portcullis_program(args)?),
            Proxy::Nginx => args.nginx.clone().or_else(|| on_path("nginx")),
            Proxy::Haproxy => args.haproxy.clone().or_else(|| on_path("haproxy")),
            Proxy::Envoy => args
                .envoy
                .clone()
                .or_else(|| on_path("envoy"))
                .or_else(|| envoy::fetch(args)),
        };
        match program {
            Some(program) => {
                let version = version(proxy, &program, args);
                if proxy == Proxy::Portcullis {
                    found.push(Found {
                        proxy: Proxy::Forgetful,
                        program: program.clone(),
                        version: version.clone(),
                    });
                }
                found.push(Found {
                    proxy,
                    program,
                    version,
                });
            }
            None if args.proxies.is_empty() => eprintln!(
                "bench load: {0} is not installed and takes no part (Debian: apt-get install {0})",
                proxy.name()
            ),
            None => return Err(format!("{} is not installed", proxy.name())),
        }
    }
    Ok(found)
}

fn portcullis_program(args: &Args) -> Result<PathBuf> {
    let program = args
        .portcullis
        .clone()
        .unwrap_or_else(|| args.root.join("target").join(&args.profile).join("portcullis"));
    let program = fs::canonicalize(&program).map_err(|error| {
        format!(
            "no gateway at {}: {error}; `cargo xtask bench load` builds it",
            program.display()
        )
    })?;
    Ok(program)
}

/// A program on `PATH`, or where Debian puts servers.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn version(proxy: Proxy, program: &Path, args: &Args) -> String {
    let flag = match proxy {
        Proxy::Portcullis | Proxy::Forgetful | Proxy::Envoy => "--version",
        Proxy::Nginx | Proxy::Haproxy => "-v",
    };
    let output = Command::new(program).arg(flag).output();
    let text = output.map_or_else(
        |error| error.to_string(),
        |output| {
            let mut text = output.stdout;
            text.extend(output.stderr);
            String::from_utf8_lossy(&text).into_owned()
        },
    );
    let number = text
        .split(|c: char| c.is_whitespace() || c == '/')
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or("?")
        .to_owned();
    match proxy {
        Proxy::Portcullis => format!("{number} ({} profile)", args.profile),
        _ => number,
    }
}

/// Where a proxy of one scenario listens and what it may read.
pub(crate) struct Site<'a> {
    pub setup: Setup,
    /// Ours: whether policies may remember decisions.
    pub is_remembering: bool,
    pub root: &'a Path,
    pub origin: SocketAddr,
    pub port: u16,
    /// Does the same as `port` behind a limit that five requests use up.
    pub tight_port: u16,
    /// Ours: health and metrics.
    pub admin_port: u16,
}

/// A proxy that runs and has answered.
pub(crate) struct Started {
    pub proxy: Proxy,
    pub running: Running,
    pub address: SocketAddr,
    pub tight: SocketAddr,
    pub admin: SocketAddr,
}

/// Starts one proxy of a scenario in a folder of its own, and waits until it accepts.
pub(crate) async fn start(
    found: &Found,
    scenario: &Scenario,
    (args, places, keys): (&Args, &Places, &Keys),
    origin: SocketAddr,
    folder: &Path,
) -> Result<Started> {
    let name = found.proxy.name();
    let folder = folder.join(name);
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make a folder: {error}"))?;
    keys.write(&folder)?;
    let root = fs::canonicalize(&args.root).map_err(|error| format!("no checkout: {error}"))?;
    let [port, tight_port, admin_port] = free_ports()?;
    let site = Site {
        setup: scenario.setup,
        is_remembering: found.proxy != Proxy::Forgetful,
        root: &root,
        origin,
        port,
        tight_port,
        admin_port,
    };
    let (file, text, words) = match found.proxy {
        Proxy::Portcullis | Proxy::Forgetful => portcullis::configuration(&site),
        Proxy::Nginx => nginx::configuration(&site),
        Proxy::Haproxy => haproxy::configuration(&site),
        Proxy::Envoy => envoy::configuration(&site),
    };
    fs::write(folder.join(file), text).map_err(|error| format!("cannot write {file}: {error}"))?;
    let mut running = Running::start(name, &found.program, &words, &folder, places)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let tight = SocketAddr::from(([127, 0, 0, 1], tight_port));
    let admin = SocketAddr::from(([127, 0, 0, 1], admin_port));
    wait_until_it_accepts(&mut running, address, &folder).await?;
    Ok(Started {
        proxy: found.proxy,
        running,
        address,
        tight,
        admin,
    })
}

/// How long a proxy may take to start.
const START: Duration = Duration::from_secs(20);

async fn wait_until_it_accepts(running: &mut Running, address: SocketAddr, folder: &Path) -> Result<()> {
    let until = Instant::now() + START;
    while tokio::net::TcpStream::connect(address).await.is_err() {
        let why = running.ended().map(|status| format!("ended with {status}"));
        let why = why.or_else(|| (Instant::now() > until).then(|| "does not listen".to_owned()));
        if let Some(why) = why {
            let text = fs::read_to_string(folder.join(format!("{}.err", running.name))).unwrap_or_default();
            let last: Vec<&str> = text.lines().rev().take(15).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            return Err(format!("{} {why}:\n{}", running.name, last.join("\n")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Three ports that nobody has now; all are held until all are known.
fn free_ports() -> Result<[u16; 3]> {
    let bind = || TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("no port is free: {error}"));
    let held = [bind()?, bind()?, bind()?];
    let port = |listener: &TcpListener| {
        listener
            .local_addr()
            .map(|address| address.port())
            .map_err(|error| error.to_string())
    };
    Ok([port(&held[0])?, port(&held[1])?, port(&held[2])?])
}
