//! A bounded buffer of lines before a thread that writes them: a slow disk costs lines, never requests.
//!
//! A request copies its line into the buffer and goes on; the thread takes the buffer as a whole, so that neither
//! a wake-up nor an allocation nor a system call falls to a line. It reads a clock by itself, to look now and then
//! whether the file was rotated away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use thiserror::Error;
use tracing::{error, info};

/// Bytes of lines that may wait: half a second of a busy gateway.
const WAITING: usize = 4 * 1024 * 1024;

/// From this much on the writer gathers no longer.
const BATCH: usize = 64 * 1024;

/// How long the writer gathers lines after the first one of a batch.
const GATHER: Duration = Duration::from_millis(5);

/// How long a shutdown waits for the writer.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// How often a file is looked at for having been moved away (log rotation).
const REOPEN_CHECK: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum LineDestination {
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
    shared: Arc<Shared>,
    ended: Mutex<Receiver<()>>,
    dropped: IntCounter,
}

/// What requests and the writer thread share.
#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when there is something to write, a whole batch of it, or the end.
    news: Condvar,
}

/// Lines that wait.
#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines, gathers a few more, and takes them all in exchange for an empty buffer; true when there will
    /// be no more. Gives up waiting when it is time to look at the file.
    fn take(&self, lines: &mut Vec<u8>) -> bool {
        let is_idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.is_closed;
        let is_little = |waiting: &mut Waiting| waiting.lines.len() < BATCH && !waiting.is_closed;
        let waiting = self.lock();
        let (waiting, silence) = self
            .news
            .wait_timeout_while(waiting, REOPEN_CHECK, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        let mut waiting = if silence.timed_out() {
            waiting
        } else {
            let gathered = self.news.wait_timeout_while(waiting, GATHER, is_little);
            gathered.unwrap_or_else(PoisonError::into_inner).0
        };
        lines.clear();
        // A burst's room is given back.
        lines.shrink_to(2 * BATCH);
        std::mem::swap(&mut waiting.lines, lines);
        waiting.is_closed
    }
}

impl LineWriter {
    /// Opens the destination and starts its thread; `dropped` counts the lines that found the queue full or could not
    /// be written. `None` for [`LineDestination::None`].
    ///
    /// # Errors
    /// Fails when the file cannot be opened or the thread not be started.
    pub fn open(destination: &LineDestination, dropped: IntCounter) -> Result<Option<Self>, LineFault> {
        let sink = match destination {
            LineDestination::None => return Ok(None),
            LineDestination::Stdout => Sink::Stream(Box::new(io::stdout())),
            LineDestination::Stderr => Sink::Stream(Box::new(io::stderr())),
            LineDestination::File(path) => Sink::open(path)?,
        };
        Self::over(sink, dropped).map(Some)
    }

    fn over(sink: Sink, dropped: IntCounter) -> Result<Self, LineFault> {
        let shared = Arc::new(Shared::default());
        let (end, ended) = sync_channel(1);
        let (source, lost) = (Arc::clone(&shared), dropped.clone());
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                write_lines(&source, sink, &lost);
                // Nobody may be waiting for it.
                let _ = end.try_send(());
            })
            .map_err(LineFault::Thread)?;
        Ok(Self {
            shared,
            ended: Mutex::new(ended),
            dropped,
        })
    }

    /// Takes a line, which must end with a line feed; what finds the buffer full is dropped and counted.
    pub fn write(&self, line: &[u8]) {
        let mut waiting = self.shared.lock();
        let before = waiting.lines.len();
        let after = before + line.len();
        if waiting.is_closed || after > WAITING {
            drop(waiting);
            self.dropped.inc();
            return;
        }
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        let is_batch = before < BATCH && after >= BATCH;
        if before == 0 || is_batch {
            self.shared.news.notify_one();
        }
    }

    /// Writes what waits and ends the thread; called at shutdown, which a writer that is stuck holds up for
    /// two seconds at most.
    pub fn close(&self) {
        let was_closed = std::mem::replace(&mut self.shared.lock().is_closed, true);
        if was_closed {
            return;
        }
        self.shared.news.notify_one();
        if let Ok(ended) = self.ended.lock() {
            // What a stuck writer still holds is lost with the process.
            let _ = ended.recv_timeout(CLOSE_WITHIN);
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
    File { path: PathBuf, file: File },
}

impl Sink {
    fn open(path: &Path) -> Result<Self, LineFault> {
        let file = append(path).map_err(|cause| LineFault::Open {
            path: path.to_owned(),
            cause,
        })?;
        Ok(Self::File {
            path: path.to_owned(),
            file,
        })
    }

    /// For our own log.
    fn name(&self) -> String {
        match self {
            Self::Stream(_) => "standard stream".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }

    /// Writes lines; on a fault, gives it with the bytes that are not written.
    fn write<'l>(&mut self, mut lines: &'l [u8]) -> Result<(), (io::Error, &'l [u8])> {
        while !lines.is_empty() {
            let written = match self {
                Self::Stream(stream) => stream.write(lines),
                Self::File { file, .. } => file.write(lines),
            };
            match written {
                Ok(0) => return Err((io::ErrorKind::WriteZero.into(), lines)),
                Ok(count) => lines = lines.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((error, lines)),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::File { .. } => Ok(()),
        }
    }

    /// Opens the file again when its name no longer leads to what is open.
    fn follow_rotation(&mut self) -> io::Result<()> {
        let Self::File { path, file } = self else {
            return Ok(());
        };
        if !is_same_file(path, file) {
            *file = append(path)?;
        }
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

fn write_lines(shared: &Shared, mut sink: Sink, lost: &IntCounter) {
    let mut checked = Instant::now();
    let mut state = WriteState::default();
    let mut lines = Vec::new();
    let mut is_last = false;
    while !is_last {
        is_last = shared.take(&mut lines);
        if checked.elapsed() >= REOPEN_CHECK {
            checked = Instant::now();
            // A failure here shows again as a failing write, where the lines are counted.
            let _ = sink.follow_rotation();
        }
        let mut fault = None;
        if let Err((error, unwritten)) = sink.write(&lines) {
            lost.inc_by(unwritten.iter().filter(|byte| **byte == b'\n').count() as u64);
            fault = Some(error);
        }
        if let Err(error) = sink.flush() {
            fault.get_or_insert(error);
        }
        match (state.follow(fault.is_some(), !lines.is_empty()), fault) {
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
        let writer = LineWriter::open(&LineDestination::File(path.clone()), dropped.clone())
            .unwrap()
            .unwrap();

        for number in 0..1_000 {
            writer.write(format!("{number}\n").as_bytes());
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
        let line = [b"x".repeat(1_023), b"\n".to_vec()].concat();

        // What waits, what the writer holds, and more than both.
        for _ in 0..2 * WAITING / line.len() + 100 {
            writer.write(&line);
        }

        assert!(dropped.get() >= 100, "{}", dropped.get());
        drop(release);
    }

    #[test]
    fn what_a_broken_disk_did_not_take_is_counted_line_by_line() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let taken = bytes.len().min(self.0);
                self.0 -= taken;
                if taken == 0 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                Ok(taken)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let dropped = counter();
        let writer = LineWriter::over(Sink::Stream(Box::new(Full(7))), dropped.clone()).unwrap();

        for _ in 0..5 {
            writer.write(b"line\n");
        }
        writer.close();

        assert_eq!(dropped.get(), 4, "the second line is there in part only");
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
        let destination = LineDestination::File(folder.path().join("access.log"));
        let writer = LineWriter::open(&destination, dropped.clone()).unwrap().unwrap();

        writer.close();
        writer.close();
        writer.write(b"late\n");

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
        let destination = LineDestination::File(PathBuf::from("/nonexistent/folder/access.log"));

        let fault = LineWriter::open(&destination, counter()).err().unwrap();

        assert!(fault.to_string().contains("/nonexistent/folder/access.log"));
    }

    #[test]
    fn nothing_is_opened_where_no_line_is_wanted() {
        assert!(
            LineWriter::open(&LineDestination::None, counter())
                .unwrap()
                .is_none()
        );
    }
}
