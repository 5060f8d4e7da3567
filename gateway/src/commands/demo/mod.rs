//! `demo`: the whole gateway at work on this machine, with nothing installed and nothing set up.
//!
//! It makes a throw-away PKI and a token issuer, starts three regions of a sample API on loopback, writes a
//! configuration folder and serves it through the same path as `run`. What it prints is a tour of curl commands;
//! `--once` runs the tour itself and fails when an answer differs from its promise.

mod control;
mod files;
mod folder;
mod pki;
mod regions;
mod sample_api;
mod steps;
mod tokens;
mod tour;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Runtime;

use super::Exit;
use crate::app::{App, AppFault, AppOptions};
use crate::cli::DemoArgs;
use crate::configuration::Selection;
use crate::output::{Output, chain};
use folder::{Folder, Ports};
use pki::Pki;
use regions::{REGIONS, Region};
use tour::Places;

/// Whose SPIFFE IDs these are.
const TRUST_DOMAIN: &str = "corp.example";
/// Who signs the tokens.
const ISSUER: &str = "https://login.corp.example";
/// For whom they are.
const AUDIENCE: &str = "appointments";

/// Ports when none is named.
const GATEWAY_PORT: u16 = 8443;
const ADMIN_PORT: u16 = 9901;
const CONTROL_PORT: u16 = 9902;
/// Where the demo writes when nothing else is said.
const FOLDER: &str = "portcullis-demo";

/// For the first probes.
const READY: Duration = Duration::from_secs(20);

/// Why the demo cannot go on.
#[derive(Debug, Error)]
enum DemoFault {
    #[error("cannot write \"{}\"", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("cannot read \"{}\"", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("\"{}\" exists and was not written by the demo; name another folder with --dir", .0.display())]
    Foreign(PathBuf),
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot make a token")]
    Token(#[from] jsonwebtoken::errors::Error),
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    #[error("cannot use the certificates just made")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("cannot set up TLS for the sample API")]
    Tls(#[from] rustls::Error),
    #[error("cannot verify clients of the sample API")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("cannot open a port on loopback")]
    Socket(#[from] io::Error),
    #[error("a call of the tour failed")]
    Call(#[from] reqwest::Error),
    #[error(transparent)]
    App(#[from] Box<AppFault>),
    #[error("the gateway is not ready after 20 s: {0}")]
    NotReady(String),
}

/// Runs the demo until it is told to stop, or once through.
pub(super) fn demo(args: &DemoArgs, output: &mut Output) -> Exit {
    match run(args, output) {
        Ok(exit) => exit,
        Err(fault) => {
            output.error(chain(&fault));
            Exit::Problems
        }
    }
}

fn run(args: &DemoArgs, output: &mut Output) -> Result<Exit, DemoFault> {
    let runtime = Runtime::new()?;
    let folder = Folder::prepare(args)?;
    let pki = Pki::make()?;
    let regions = Arc::new(runtime.block_on(start_regions(&pki))?);
    let ports = ports(args);
    folder.write(&pki, &regions, ports)?;
    let app = start_gateway(folder.path())?;
    let control = runtime.block_on(control::serve(ports.control, Arc::clone(&regions)))?;
    let places = Places {
        folder: folder.path().to_owned(),
        gateway: format!("https://localhost:{}", gateway_port(&app)),
        control: format!("http://{control}"),
    };
    introduce(&app, &places, output);
    if !args.once {
        tour::print(&places, output);
        output.line("\nCtrl-C stops everything.");
        app.run_until_told_to_stop();
        return Ok(Exit::Clean);
    }
    let broken = runtime.block_on(tour::run(&places, &regions, output));
    app.shutdown(Duration::from_secs(2));
    let broken = broken?;
    if broken > 0 {
        output.error(format!("{broken} answers differ from what the tour promises"));
        return Ok(Exit::Problems);
    }
    output.line("\nEvery answer was as promised.");
    Ok(Exit::Clean)
}

async fn start_regions(pki: &Pki) -> Result<Vec<Region>, DemoFault> {
    let mut regions = Vec::with_capacity(REGIONS.len());
    for (name, _) in REGIONS {
        regions.push(Region::start_on_free_port(name, pki).await?);
    }
    Ok(regions)
}

fn start_gateway(folder: &Path) -> Result<App, DemoFault> {
    let selection = Selection {
        path: folder.join("portcullis.yaml"),
        region: None,
        offline: false,
    };
    let app = App::start(AppOptions {
        selection,
        ..AppOptions::default()
    })
    .map_err(Box::new)?;
    app.wait_until_ready(READY).map_err(DemoFault::NotReady)?;
    Ok(app)
}

fn gateway_port(app: &App) -> u16 {
    app.addresses()
        .values()
        .flatten()
        .map(std::net::SocketAddr::port)
        .next()
        .unwrap_or(0)
}

/// A named port has its neighbours beside it, so that two demos can run.
fn ports(args: &DemoArgs) -> Ports {
    match args.port {
        None if args.once => Ports {
            gateway: 0,
            admin: 0,
            control: 0,
        },
        None => Ports {
            gateway: GATEWAY_PORT,
            admin: ADMIN_PORT,
            control: CONTROL_PORT,
        },
        Some(0) => Ports {
            gateway: 0,
            admin: 0,
            control: 0,
        },
        Some(port) => {
            let beside = |distance: u16| port.checked_add(distance).unwrap_or(0);
            Ports {
                gateway: port,
                admin: beside(1),
                control: beside(2),
            }
        }
    }
}

fn introduce(app: &App, places: &Places, output: &mut Output) {
    output.line("Portcullis serves three regions of a small API: eu-west (here), eu-central and us-east.");
    output.line(format!("  gateway        {}", places.gateway));
    output.line(format!(
        "  admin          http://{}/readyz  /metrics  /pools",
        app.admin()
    ));
    output.line(format!(
        "  the regions    {}/regions  (POST /regions/NAME/stop and /start)",
        places.control
    ));
    output.line(format!(
        "  configuration  {}",
        places.folder.join("portcullis.yaml").display()
    ));
}
