//! A bounded queue of lines before a thread that writes them: a slow disk costs lines, never requests.
//! The thread reads a clock by itself, to look now and then whether the file was rotated away.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use thiserror::Error;
use tracing::{error, info};

/// Lines that may wait: at 400 bytes a line under 4 MiB, and half a second of a busy gateway.
const QUEUE: usize = 8_192;

/// How long the writer may be behind before what it buffered is flushed.
const FLUSH_AFTER: Duration = Duration::from_millis(200);

/// How long a shutdown waits for the writer.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// How often a file is looked at for having been moved away (log rotation).
const REOPEN_CHECK: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum LineTarget {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to; opened again when it was moved away.
    File(PathBuf),
    /// Nowhere.
    None,
}

/// Why lines cannot be written at all.
#[derive(Debug, Error)]
pub enum LineFault {
    /// The file cannot be opened.
    #[error("cannot open log file \"{}\"", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Its counter cannot be registered.
    #[error("cannot register the counter of lost lines")]
    Metric(#[source] prometheus::Error),
    /// The writer thread cannot be started.
    #[error("cannot start the log writer")]
    Thread(#[source] io::Error),
}

/// Hands lines to the writer thread without ever waiting for it.
pub struct LineWriter {
    queue: SyncSender<Order>,
    ended: Mutex<Receiver<()>>,
    dropped: IntCounter,
}

/// What the writer thread is told.
enum Order {
    Line(Vec<u8>),
    Close,
}

impl LineWriter {
    /// Opens the target and starts its thread; `dropped` counts the lines that found the queue full or could not
    /// be written. `None` for [`LineTarget::None`].
    ///
    /// # Errors
    /// Fails when the file cannot be opened or the thread not be started.
    pub fn open(target: &LineTarget, dropped: IntCounter) -> Result<Option<Self>, LineFault> {
        let sink = match target {
            LineTarget::None => return Ok(None),
            LineTarget::Stdout => Sink::Stream(Box::new(io::stdout())),
            LineTarget::Stderr => Sink::Stream(Box::new(io::stderr())),
            LineTarget::File(path) => Sink::open(path)?,
        };
        Self::over(sink, dropped).map(Some)
    }

    fn over(sink: Sink, dropped: IntCounter) -> Result<Self, LineFault> {
        let (queue, orders) = sync_channel(QUEUE);
        let (end, ended) = sync_channel(1);
        let lost = dropped.clone();
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                write_lines(&orders, sink, &lost);
                // Nobody may be waiting for it.
                let _ = end.try_send(());
            })
            .map_err(LineFault::Thread)?;
        Ok(Self {
            queue,
            ended: Mutex::new(ended),
            dropped,
        })
    }

    /// Queues a line, which must end with a line feed; a full queue drops and counts it.
    pub fn write(&self, line: Vec<u8>) {
        if self.queue.try_send(Order::Line(line)).is_err() {
            self.dropped.inc();
        }
    }

    /// Writes what is queued and ends the thread; called at shutdown, which a writer that is stuck holds up for
    /// two seconds at most.
    pub fn close(&self) {
        let deadline = Instant::now() + CLOSE_WITHIN;
        loop {
            match self.queue.try_send(Order::Close) {
                Err(TrySendError::Full(_)) if Instant::now() < deadline => std::thread::yield_now(),
                Ok(()) | Err(TrySendError::Full(_)) => break,
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
        if let Ok(ended) = self.ended.lock() {
            // What a stuck writer still holds is lost with the process.
            let _ = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.close();
    }
}

enum Sink {
    Stream(Box<dyn Write + Send>),
    File { path: PathBuf, writer: BufWriter<File> },
}

impl Sink {
    fn open(path: &Path) -> Result<Self, LineFault> {
        let file = append(path).map_err(|cause| LineFault::Open {
            path: path.to_owned(),
            cause,
        })?;
        Ok(Self::File {
            path: path.to_owned(),
            writer: BufWriter::new(file),
        })
    }

    /// For our own log.
    fn name(&self) -> String {
        match self {
            Self::Stream(_) => "standard stream".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.write_all(line),
            Self::File { writer, .. } => writer.write_all(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::File { writer, .. } => writer.flush(),
        }
    }

    /// Opens the file again when its name no longer leads to what is open.
    fn follow_rotation(&mut self) -> io::Result<()> {
        let Self::File { path, writer } = self else {
            return Ok(());
        };
        if is_same_file(path, writer.get_ref()) {
            return Ok(());
        }
        writer.flush()?;
        *writer = BufWriter::new(append(path)?);
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(unix)]
fn is_same_file(path: &Path, open: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(named), Ok(held)) = (std::fs::metadata(path), open.metadata()) else {
        return false;
    };
    named.ino() == held.ino() && named.dev() == held.dev()
}

#[cfg(not(unix))]
fn is_same_file(path: &Path, _open: &File) -> bool {
    path.exists()
}

fn write_lines(orders: &Receiver<Order>, mut sink: Sink, lost: &IntCounter) {
    let mut checked = Instant::now();
    let mut is_open = true;
    let mut state = WriteState::default();
    while is_open {
        let mut next = match orders.recv_timeout(FLUSH_AFTER) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if checked.elapsed() >= REOPEN_CHECK {
            checked = Instant::now();
            // A failure here shows again as a failing write, where the line is counted.
            let _ = sink.follow_rotation();
        }
        let mut fault = None;
        let mut has_lines = false;
        while let Some(order) = next {
            match order {
                Order::Line(line) => {
                    has_lines = true;
                    if let Err(error) = sink.write(&line) {
                        lost.inc();
                        fault = Some(error);
                    }
                }
                Order::Close => is_open = false,
            }
            next = orders.try_recv().ok();
        }
        if let Err(error) = sink.flush() {
            fault.get_or_insert(error);
        }
        match (state.follow(fault.is_some(), has_lines), fault) {
            (Some(News::Fails), Some(error)) => {
                error!(log = sink.name(), %error, "cannot write the log, lines are dropped and counted");
            }
            (Some(News::Recovers), _) => info!(log = sink.name(), "the log is written again"),
            (Some(News::Fails) | None, _) => {}
        }
    }
}

/// Whether writing fails, so that it is said once and not for every line.
#[derive(Default)]
struct WriteState {
    is_failing: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum News {
    Fails,
    Recovers,
}

impl WriteState {
    /// What a round of writing tells that is new; a round without lines proves no recovery.
    fn follow(&mut self, has_fault: bool, has_lines: bool) -> Option<News> {
        match (has_fault, self.is_failing) {
            (true, false) => {
                self.is_failing = true;
                Some(News::Fails)
            }
            (false, true) if has_lines => {
                self.is_failing = false;
                Some(News::Recovers)
            }
            (true, true) | (false, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "dropped").unwrap()
    }

    #[test]
    fn every_line_is_written_before_close_returns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let dropped = counter();
        let writer = LineWriter::open(&LineTarget::File(path.clone()), dropped.clone())
            .unwrap()
            .unwrap();

        for number in 0..1_000 {
            writer.write(format!("{number}\n").into_bytes());
        }
        writer.close();

        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1_000);
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn a_writer_that_is_stuck_costs_lines_and_they_are_counted() {
        struct Stuck(Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, held) = sync_channel(0);
        let dropped = counter();
        let writer = LineWriter::over(Sink::Stream(Box::new(Stuck(held))), dropped.clone()).unwrap();

        for _ in 0..QUEUE + 100 {
            writer.write(b"line\n".to_vec());
        }

        assert!(dropped.get() >= 99, "{}", dropped.get());
        drop(release);
    }

    #[test]
    fn a_failing_disk_is_said_once_and_its_recovery_too() {
        let mut state = WriteState::default();

        let rounds = [
            (false, true),
            (true, true),
            (true, false),
            (false, false),
            (false, true),
            (false, true),
        ];
        let told: Vec<_> = rounds
            .into_iter()
            .map(|(has_fault, has_lines)| state.follow(has_fault, has_lines))
            .collect();

        assert_eq!(
            told,
            [None, Some(News::Fails), None, None, Some(News::Recovers), None]
        );
    }

    #[test]
    fn lines_after_close_are_counted_as_lost() {
        let folder = tempfile::tempdir().unwrap();
        let dropped = counter();
        let target = LineTarget::File(folder.path().join("access.log"));
        let writer = LineWriter::open(&target, dropped.clone()).unwrap().unwrap();

        writer.close();
        writer.close();
        writer.write(b"late\n".to_vec());

        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut sink = Sink::open(&path).unwrap();
        sink.write(b"one\n").unwrap();

        std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
        sink.follow_rotation().unwrap();
        sink.write(b"two\n").unwrap();
        sink.flush().unwrap();

        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(
            std::fs::read_to_string(folder.path().join("access.log.1")).unwrap(),
            "one\n"
        );
    }

    #[test]
    fn a_file_in_a_folder_that_is_not_there_is_refused_with_its_name() {
        let target = LineTarget::File(PathBuf::from("/nonexistent/folder/access.log"));

        let fault = LineWriter::open(&target, counter()).err().unwrap();

        assert!(fault.to_string().contains("/nonexistent/folder/access.log"));
    }

    #[test]
    fn nothing_is_opened_for_no_target() {
        assert!(LineWriter::open(&LineTarget::None, counter()).unwrap().is_none());
    }
}
