//! The real binary on free ports, with its logs kept.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything that must happen may take on a slow, shared machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway; killed when dropped.
pub struct TestGateway {
    child: Child,
    pub folder: TempDir,
    pub log: Lines,
    pub access: Lines,
}

/// Lines of JSON as they come.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<Value>>>);

impl Lines {
    fn follow(&self, stream: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.0);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                lines.lock().unwrap().push(value);
            }
        });
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for a line.
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || {
            self.0.lock().unwrap().iter().find(|line| is_it(line)).cloned()
        })
    }
}

/// Waits for a condition, looking every few milliseconds, and gives up loudly.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain for {what}"
        );
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// The same for conditions that ask the network.
pub async fn wait_until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    loop {
        ticks.tick().await;
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain for {what}"
        );
    }
}

impl TestGateway {
    /// Starts the binary on `portcullis.yaml` in a folder and waits until it is ready.
    pub fn start(folder: TempDir) -> Self {
        Self::start_with(folder, &[])
    }

    /// The same with more arguments.
    pub fn start_with(folder: TempDir, arguments: &[&str]) -> Self {
        let mut gateway = Self::spawn(folder, arguments);
        gateway.wait_until_ready();
        gateway
    }

    /// Waits until it says that it is ready; one that does not start fails at once.
    pub fn wait_until_ready(&mut self) {
        let log = self.log.clone();
        wait_for("the gateway to be ready", || {
            let is_ready = log
                .all()
                .iter()
                .any(|line| line["fields"]["message"] == "ready" || line["message"] == "ready");
            assert!(is_ready || !self.has_exited(), "the gateway does not start");
            is_ready.then_some(())
        });
    }

    /// Starts the binary without waiting.
    pub fn spawn(folder: TempDir, arguments: &[&str]) -> Self {
        Self::spawn_by(Command::new(env!("CARGO_BIN_EXE_portcullis")), folder, arguments)
    }

    /// The same with as many file descriptors as the system gives.
    pub fn spawn_with_all_descriptors(folder: TempDir) -> Self {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            r#"ulimit -n "$(ulimit -Hn)" && exec "$0" "$@""#,
            env!("CARGO_BIN_EXE_portcullis"),
        ]);
        Self::spawn_by(command, folder, &[])
    }

    /// Started with so few file descriptors.
    pub fn spawn_with_descriptors(folder: TempDir, count: usize) -> Self {
        let mut command = Command::new("sh");
        let limit = format!(r#"ulimit -n {count} && exec "$0" "$@""#);
        command.args(["-c", &limit, env!("CARGO_BIN_EXE_portcullis")]);
        let mut gateway = Self::spawn_by(command, folder, &[]);
        gateway.wait_until_ready();
        gateway
    }

    fn spawn_by(mut command: Command, folder: TempDir, arguments: &[&str]) -> Self {
        let mut child = command
            .args(["--log-format", "json", "run", "--config"])
            .arg(folder.path().join("portcullis.yaml"))
            .args(arguments)
            .env_remove("PORTCULLIS_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let (log, access) = (Lines::default(), Lines::default());
        log.follow(child.stderr.take().unwrap());
        access.follow(child.stdout.take().unwrap());
        Self {
            child,
            folder,
            log,
            access,
        }
    }

    /// Where a listener is bound.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let line = self.log.wait_for("the listener's address", |line| {
            let fields = if line["fields"].is_object() {
                &line["fields"]
            } else {
                line
            };
            fields["message"] == "listening" && fields["listener"] == listener
        });
        let fields = if line["fields"].is_object() {
            &line["fields"]
        } else {
            &line
        };
        fields["address"].as_str().unwrap().parse().unwrap()
    }

    /// Where the admin port is bound.
    pub fn admin(&self) -> SocketAddr {
        self.address("admin")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, as in `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the process to end.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the gateway to exit", || child.try_wait().unwrap())
    }

    pub fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the configuration in one step.
    pub fn configure(&self, text: &str) {
        super::pki::write(&self.path("portcullis.yaml"), text);
    }

    /// The access log line of a request.
    pub fn access_line(&self, request_id: &str) -> Value {
        self.access
            .wait_for("the access log line", |line| line["request_id"] == request_id)
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            for line in self.log.all() {
                eprintln!("gateway: {line}");
            }
        }
    }
}

/// An empty folder for a configuration.
pub fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("portcullis-e2e-")
        .tempdir()
        .unwrap()
}

/// Writes the configuration into a folder.
pub fn configure(folder: &Path, text: &str) {
    fs::write(folder.join("portcullis.yaml"), text).unwrap();
}
