//! A real SPIRE: a server, its agent, and the identities they issue.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;

use super::gateway::{folder, wait_for};
use super::pki::Leaf;
use super::tools::{find, skip};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A SPIRE server of one trust domain and, once started, its agent.
pub struct Spire {
    folder: TempDir,
    /// Server and agent.
    programs: (PathBuf, PathBuf),
    pub domain: &'static str,
    server_port: u16,
    _server: Running,
    agent: Option<Running>,
}

/// Who a program is.
pub struct Entry<'a> {
    pub id: &'a str,
    pub program: &'a Path,
    /// `-x509SVIDTTL 6` and the like.
    pub more: &'a [&'a str],
}

impl Spire {
    /// The server alone; `None`, said loudly, where SPIRE is not installed.
    pub fn start_server(tests: usize, domain: &'static str) -> Option<Self> {
        let (Some(server), Some(agent)) = (find("spire-server"), find("spire-agent")) else {
            skip(
                tests,
                "the tests with a real SPIRE",
                "spire-server and spire-agent were not found",
            );
            return None;
        };
        let folder = folder();
        // SPIRE cannot be given a socket; the port is free a moment before.
        let server_port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let data = folder.path().display().to_string();
        let text = format!(
            r#"server {{ bind_address = "127.0.0.1" bind_port = "{server_port}" trust_domain = "{domain}" data_dir = "{data}"
                         socket_path = "{data}/server.sock" default_x509_svid_ttl = "1h" ca_ttl = "24h" }}
               plugins {{
                 DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{data}/ds.sqlite3" }} }}
                 KeyManager "memory" {{ plugin_data {{}} }}
                 NodeAttestor "join_token" {{ plugin_data {{}} }}
               }}"#
        );
        let conf = folder.path().join("server.conf");
        fs::write(&conf, text).unwrap();
        let running = run(
            folder.path(),
            &server,
            &["run", "-config", conf.to_str().unwrap()],
        );
        let spire = Self {
            folder,
            programs: (server, agent),
            domain,
            server_port,
            _server: running,
            agent: None,
        };
        wait_for("the SPIRE server", || spire.server(&["healthcheck"]));
        Some(spire)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The Workload API's endpoint.
    pub fn workload_api(&self) -> String {
        format!("unix://{}", self.text("agent.sock"))
    }

    /// Where something of the test may be kept.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The agent's program, which asks for identities when it is told to.
    pub fn agent_program(&self) -> &Path {
        &self.programs.1
    }

    /// A command of the server, when it succeeds.
    pub fn server(&self, arguments: &[&str]) -> Option<String> {
        let socket = self.text("server.sock");
        let socket = ["-socketPath", socket.as_str()];
        output(&self.programs.0, &[arguments, &socket].concat())
    }

    /// A command of the agent as a workload, when it succeeds.
    pub fn workload(&self, arguments: &[&str]) -> Option<String> {
        let socket = self.text("agent.sock");
        output(
            &self.programs.1,
            &[&["api"], arguments, &["-socketPath", &socket]].concat(),
        )
    }

    /// Who a program is; the entry's own id.
    pub fn register(&self, entry: &Entry<'_>) -> String {
        let parent = format!("spiffe://{}/node", self.domain);
        let selector = format!("unix:path:{}", fs::canonicalize(entry.program).unwrap().display());
        let arguments = [
            &[
                "entry",
                "create",
                "-parentID",
                &parent,
                "-spiffeID",
                entry.id,
                "-selector",
                &selector,
            ],
            entry.more,
        ]
        .concat();
        let said = wait_for("the entry to be made", || self.server(&arguments));
        let line = said.lines().find(|line| line.starts_with("Entry ID")).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    }

    /// An SVID straight from the server, and the authorities of its domain.
    pub fn mint(&self, id: &str) -> (Leaf, Arc<RootCertStore>) {
        let to = tempfile::tempdir_in(self.folder.path()).unwrap();
        let arguments = ["x509", "mint", "-spiffeID", id, "-ttl", "1h", "-write"];
        let folder = to.path().to_str().unwrap();
        wait_for("an SVID to be minted", || {
            self.server(&[&arguments[..], &[folder]].concat())
        });
        let read = |name: &str| fs::read_to_string(to.path().join(name)).unwrap();
        let leaf = Leaf {
            chain_pem: read("svid.pem"),
            key_pem: read("key.pem"),
        };
        (leaf, roots(&to.path().join("bundle.pem")))
    }

    /// A JWT-SVID straight from the server.
    pub fn mint_jwt(&self, id: &str, audience: &str) -> String {
        let arguments = ["jwt", "mint", "-spiffeID", id, "-audience", audience];
        wait_for("a JWT-SVID to be minted", || self.server(&arguments))
            .trim()
            .to_owned()
    }

    /// The trust bundle of the domain, as the standard writes it.
    pub fn bundle(&self) -> String {
        wait_for("the bundle", || {
            self.server(&["bundle", "show", "-format", "spiffe"])
        })
    }

    /// Gives the server the bundle of another trust domain.
    pub fn federate(&self, domain: &str, format: &str, bundle: &str) {
        let path = self.path(&format!("{domain}.bundle"));
        fs::write(&path, bundle).unwrap();
        let (id, path) = (format!("spiffe://{domain}"), path.display().to_string());
        let arguments = ["bundle", "set", "-id", &id, "-format", format, "-path", &path];
        wait_for("the bundle to be set", || self.server(&arguments));
    }

    /// Starts an agent of another name with a new token, or one that ran before with what it kept.
    pub fn start_agent(&mut self, name: &str) {
        let data = self.text(name);
        let is_new = !Path::new(&data).exists();
        fs::create_dir_all(&data).unwrap();
        // It asks its server every second, so that a test need not wait five for each change, and reads no program
        // whole for its digest: ours is large.
        let text = format!(
            r#"agent {{ data_dir = "{data}" server_address = "127.0.0.1" server_port = "{}" socket_path = "{}"
                        trust_domain = "{}" insecure_bootstrap = true experimental {{ sync_interval = "1s" }} }}
               plugins {{
                 KeyManager "disk" {{ plugin_data {{ directory = "{data}" }} }}
                 NodeAttestor "join_token" {{ plugin_data {{}} }}
                 WorkloadAttestor "unix" {{ plugin_data {{ discover_workload_path = true workload_size_limit = -1 }} }}
               }}"#,
            self.server_port,
            self.text("agent.sock"),
            self.domain
        );
        fs::write(self.path("agent.conf"), text).unwrap();
        let conf = self.text("agent.conf");
        let mut arguments = vec!["run", "-config", &conf];
        let token;
        if is_new {
            token = self.join_token();
            arguments.extend(["-joinToken", &token]);
        }
        self.agent = Some(run(self.folder.path(), &self.programs.1, &arguments));
    }

    fn join_token(&self) -> String {
        let node = format!("spiffe://{}/node", self.domain);
        wait_for("a join token", || {
            let said = self.server(&["token", "generate", "-spiffeID", &node])?;
            said.lines()
                .find_map(|line| line.strip_prefix("Token: ").map(str::to_owned))
        })
    }

    /// Ends the agent, as a crash would.
    pub fn stop_agent(&mut self) {
        self.agent = None;
        let _ = fs::remove_file(self.path("agent.sock"));
    }

    /// Fetches the SVIDs of a workload that is not the gateway: of every ID asked for, and the bundle.
    pub fn fetch(&self, ids: &[&str]) -> (Vec<Leaf>, Arc<RootCertStore>) {
        let written = self.path("svids");
        fs::create_dir(&written).unwrap();
        let folder = written.display().to_string();
        wait_for("SVIDs of a workload", || {
            self.workload(&["fetch", "x509", "-silent", "-write", &folder])?;
            written
                .join(format!("svid.{}.pem", ids.len() - 1))
                .exists()
                .then_some(())
        });
        let leaves: Vec<Leaf> = (0..ids.len())
            .map(|index| Leaf {
                chain_pem: fs::read_to_string(written.join(format!("svid.{index}.pem"))).unwrap(),
                key_pem: fs::read_to_string(written.join(format!("svid.{index}.key"))).unwrap(),
            })
            .collect();
        let of = |id: &&str| {
            leaves
                .iter()
                .find(|leaf| carries(&leaf.chain()[0], id))
                .expect("an SVID of each ID")
                .clone()
        };
        (ids.iter().map(of).collect(), roots(&written.join("bundle.0.pem")))
    }
}

impl Drop for Spire {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["spire-server.log", "spire-agent.log"] {
                let text = fs::read_to_string(self.path(log)).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                for line in &lines[lines.len().saturating_sub(15)..] {
                    eprintln!("{log}: {line}");
                }
            }
        }
    }
}

/// Whether a certificate carries an ID; it stands there as plain bytes.
pub fn carries(certificate: &CertificateDer<'_>, id: &str) -> bool {
    certificate
        .windows(id.len())
        .any(|window| window == id.as_bytes())
}

fn run(folder: &Path, program: &Path, arguments: &[&str]) -> Running {
    let name = program.file_name().unwrap().to_string_lossy();
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join(format!("{name}.log")))
        .unwrap();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Running(child)
}

fn output(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().unwrap();
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).unwrap())
}

fn roots(pem: &Path) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for anchor in CertificateDer::pem_file_iter(pem).unwrap() {
        roots.add(anchor.unwrap()).unwrap();
    }
    Arc::new(roots)
}
