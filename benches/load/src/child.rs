//! A process of ours that never outlives us.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::{Places, family};
use crate::{Result, proxies};

/// How long a proxy may take to go when it is asked.
const FAREWELL: Duration = Duration::from_secs(2);

/// A proxy that runs; dropped, it is ended with everything it started.
pub(crate) struct Running {
    pub name: String,
    child: Child,
}

impl Running {
    /// Starts a program on the proxies' CPU with its output in a file.
    pub(crate) fn start(
        name: &str,
        program: &Path,
        args: &[String],
        folder: &Path,
        places: &Places,
    ) -> Result<Self> {
        let open = |kind: &str| {
            std::fs::File::create(folder.join(format!("{name}.{kind}")))
                .map_err(|error| format!("cannot write the output of {name}: {error}"))
        };
        let mut command = tied(program);
        command
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(open("out")?)
            .stderr(open("err")?);
        let child = places
            .start_beside(|| command.spawn())?
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// The process's id; `setpriv` becomes the program, so it is the program's.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says how it ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(Some(status)) => Some(status.to_string()),
            _ => None,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended once, its id may be somebody else's: ask only what still runs.
        if self.ended().is_some() {
            return;
        }
        let family = family(self.id());
        signal("TERM", &[self.id()]);
        let until = Instant::now() + FAREWELL;
        while self.ended().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left: Vec<u32> = family
            .into_iter()
            .filter(|id| *id != self.id() && Path::new(&format!("/proc/{id}")).exists())
            .collect();
        signal("KILL", &left);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command whose process gets a signal when we die, even by SIGKILL, where util-linux can say so.
pub(crate) fn tied(program: &Path) -> Command {
    match proxies::on_path("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn signal(name: &str, processes: &[u32]) {
    if processes.is_empty() {
        return;
    }
    let _ = Command::new("kill")
        .arg(format!("-{name}"))
        .args(processes.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
}
