//! h2load as a load generator: its arguments, and what it says at the end.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::load::{CONNECTIONS_DOWNLOAD, CONNECTIONS_H1, CONNECTIONS_H2, Outcome, STREAMS_H2};
use crate::origin::{ANSWER, DOWNLOAD, DOWNLOAD_PATH};
use crate::scenario::{Load, Protocol};
use crate::{Result, child, proxies};

/// A batch that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where it is.
pub(crate) fn find() -> Result<std::path::PathBuf> {
    proxies::on_path("h2load")
        .ok_or_else(|| "h2load is not installed (Debian: apt-get install nghttp2-client)".to_owned())
}

/// Ends with us, also when it is dropped half-way.
struct Generator(Child);

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends so many requests and checks every answer.
pub(crate) async fn run(
    load: Load,
    requests: usize,
    address: SocketAddr,
    is_tls: bool,
    bearer: Option<&str>,
    folder: &Path,
) -> Result<Outcome> {
    let (path, answer) = match load {
        Load::Download => (format!("{DOWNLOAD_PATH}/1m"), DOWNLOAD),
        _ => ("/items".to_owned(), ANSWER),
    };
    let (connections, streams) = match load {
        Load::Same(Protocol::H2) => (CONNECTIONS_H2, STREAMS_H2),
        Load::Download => (CONNECTIONS_DOWNLOAD, 1),
        _ => (CONNECTIONS_H1, 1),
    };
    let log = folder.join("h2load.log");
    // It appends to what is there.
    let _ = fs::remove_file(&log);
    let mut command = child::tied(&find()?);
    command.args(["-t", "1", "--tls13-ciphers=TLS_AES_128_GCM_SHA256"]);
    command
        .arg("-n")
        .arg(requests.to_string())
        .arg("-c")
        .arg(connections.min(requests).to_string());
    command
        .arg("-m")
        .arg(streams.to_string())
        .arg("--log-file")
        .arg(&log);
    if !matches!(load, Load::Same(Protocol::H2)) {
        command.arg("--h1");
    }
    if let Load::Post(size) = load {
        let file = folder.join("post.body");
        fs::write(&file, vec![b'x'; size]).map_err(|error| format!("cannot write a body: {error}"))?;
        command.arg("-d").arg(file);
    }
    if let Some(bearer) = bearer {
        command.arg("-H").arg(format!("authorization: {bearer}"));
    }
    command.arg(format!(
        "{}://{address}{path}",
        if is_tls { "https" } else { "http" }
    ));
    let output = folder.join("h2load.out");
    let file = fs::File::create(&output).map_err(|error| format!("cannot write: {error}"))?;
    let errors = file
        .try_clone()
        .map_err(|error| format!("cannot write: {error}"))?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors);
    let mut generator = Generator(
        command
            .spawn()
            .map_err(|error| format!("cannot start h2load: {error}"))?,
    );
    let until = Instant::now() + PATIENCE;
    while generator
        .0
        .try_wait()
        .map_err(|error| error.to_string())?
        .is_none()
    {
        if Instant::now() > until {
            return Err(format!("void: h2load hangs; {}", last_words(&output)));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let said = fs::read_to_string(&output).unwrap_or_default();
    let elapsed = judge(&said, requests, requests as u64 * answer as u64)?;
    let latencies = latencies(&fs::read_to_string(&log).unwrap_or_default());
    if latencies.len() != requests {
        return Err(format!(
            "void: {} of {requests} answers were logged",
            latencies.len()
        ));
    }
    Ok(Outcome::new(elapsed, latencies))
}

fn last_words(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

/// All answers 2xx with all their bytes, or the run is void; the time it took.
fn judge(said: &str, requests: usize, bytes: u64) -> Result<Duration> {
    let line = |start: &str| {
        said.lines()
            .find_map(|line| line.strip_prefix(start))
            .ok_or_else(|| format!("void: h2load said no \"{start}\":\n{said}"))
    };
    let codes = line("status codes: ")?;
    if !codes.starts_with(&format!("{requests} 2xx,")) {
        return Err(format!("void: of {requests} answers {codes}"));
    }
    let outcome = line("requests: ")?;
    if !outcome.contains(&format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout")) {
        return Err(format!("void: {outcome}"));
    }
    let data = line("traffic: ")?;
    if !data.contains(&format!("({bytes}) data")) {
        return Err(format!("void: {bytes} bytes of bodies were due, got {data}"));
    }
    let time = line("finished in ")?.split(',').next().unwrap_or_default();
    duration(time).ok_or_else(|| format!("\"{time}\" is no time"))
}

/// `1.23s`, `12.34ms`, `800us`.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let scale = match unit.trim() {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return None,
    };
    Some(Duration::from_secs_f64(
        number.trim().parse::<f64>().ok()? * scale,
    ))
}

/// The third column of its log: microseconds of each request.
fn latencies(log: &str) -> Vec<Duration> {
    log.lines()
        .filter_map(|line| line.split('\t').nth(2)?.trim().parse().ok())
        .map(Duration::from_micros)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
starting benchmark...
finished in 1.25s, 8000.00 req/s, 4.20MB/s
requests: 10000 total, 10000 started, 10000 done, 10000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 10000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 5.25MB (5502272) total, 107.56KB (110144) headers (space savings 94.84%), 4.88MB (5120000) data
";

    #[test]
    fn a_whole_run_counts() {
        assert_eq!(
            judge(SAID, 10_000, 5_120_000).unwrap(),
            Duration::from_millis(1_250)
        );
    }

    #[test]
    fn a_refused_request_or_a_lost_byte_voids_the_run() {
        let refused = SAID.replace("10000 2xx, 0 3xx, 0 4xx", "9999 2xx, 0 3xx, 1 4xx");

        assert!(judge(&refused, 10_000, 5_120_000).unwrap_err().contains("void"));
        assert!(judge(SAID, 10_000, 5_120_001).unwrap_err().contains("void"));
        assert!(judge("", 1, 1).unwrap_err().contains("void"));
    }

    #[test]
    fn its_log_gives_the_latencies() {
        assert_eq!(
            latencies("1400000\t200\t512\n1400001\t200\t90\n"),
            [512, 90].map(Duration::from_micros)
        );
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("12.5ms"), Some(Duration::from_micros(12_500)));
        assert_eq!(duration("800us"), Some(Duration::from_micros(800)));
        assert_eq!(duration("eternity"), None);
    }
}
