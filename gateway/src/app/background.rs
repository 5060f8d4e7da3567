//! Background work: named, watched and joined at shutdown. Nothing else in the process starts any.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, error};

/// How long a task may take to notice that it is over.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Every background task of one app.
pub(crate) struct Background {
    handle: Handle,
    tasks: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
}

impl Background {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self {
            handle,
            tasks: Mutex::new(Vec::new()),
        }
    }

    /// Starts a task that runs until shutdown. One that ends or panics before is a defect, and is said once.
    pub(crate) fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let inner = self.handle.spawn(work);
        let task = self.handle.spawn(async move {
            let abort = AbortOnDrop(inner);
            abort.watch(name).await;
        });
        let mut tasks = self
            .tasks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        tasks.push((name, task));
    }

    /// Ends every task and waits for it.
    pub(crate) async fn stop(&self) {
        let tasks = std::mem::take(
            &mut *self
                .tasks
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        for (_, task) in &tasks {
            task.abort();
        }
        for (name, task) in tasks {
            if timeout(JOIN_TIMEOUT, task).await.is_err() {
                error!(name, "background task does not end");
            }
        }
        debug!("background work ended");
    }
}

/// The task ends with its watcher.
struct AbortOnDrop(JoinHandle<()>);

impl AbortOnDrop {
    async fn watch(mut self, name: &'static str) {
        match (&mut self.0).await {
            Ok(()) => error!(name, "background task ended before shutdown"),
            Err(fault) if fault.is_panic() => error!(name, "background task panicked"),
            Err(_) => {}
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct SetOnDrop(Arc<AtomicBool>);
    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn stop_ends_tasks_that_would_run_for_ever() {
        let background = Background::new(Handle::current());
        let ended = Arc::new(AtomicBool::new(false));
        let guard = SetOnDrop(Arc::clone(&ended));
        let (started, running) = tokio::sync::oneshot::channel();
        background.spawn("forever", async move {
            let _guard = guard;
            let _ = started.send(());
            std::future::pending::<()>().await;
        });
        running.await.unwrap();

        background.stop().await;
        tokio::task::yield_now().await;

        assert!(ended.load(Ordering::SeqCst));
    }
}
