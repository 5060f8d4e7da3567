//! Who woke the connection's task: each part has a waker of its own, so that only what was woken is polled, and what
//! one part wakes in another while the task runs costs no further wake-up of the task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The connection's task.
#[derive(Debug, Default)]
pub(crate) struct Sleeper {
    task: AtomicWaker,
    is_awake: AtomicBool,
}

/// One part of it that can be woken.
#[derive(Debug)]
pub(crate) struct Part {
    nudge: Arc<Nudge>,
    waker: Waker,
}

#[derive(Debug)]
struct Nudge {
    sleeper: Arc<Sleeper>,
    is_woken: AtomicBool,
}

impl Sleeper {
    /// The task runs: until [`Self::rest`] a nudge only leaves its mark.
    pub(crate) fn rise(&self, context: &Context<'_>) {
        self.task.register(context.waker());
        self.is_awake.store(true, Ordering::SeqCst);
    }

    /// The task is about to sleep. Marks must be looked at once more afterwards.
    pub(crate) fn rest(&self) {
        self.is_awake.store(false, Ordering::SeqCst);
    }
}

impl Part {
    /// A part that counts as woken, so that it is polled once.
    pub(crate) fn new(sleeper: &Arc<Sleeper>) -> Self {
        let nudge = Arc::new(Nudge {
            sleeper: Arc::clone(sleeper),
            is_woken: AtomicBool::new(true),
        });
        let waker = Waker::from(Arc::clone(&nudge));
        Self { nudge, waker }
    }

    /// The waker that nudges this part.
    pub(crate) const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// True when the part was woken since the last time.
    pub(crate) fn take(&self) -> bool {
        self.nudge.is_woken.swap(false, Ordering::SeqCst)
    }

    /// True when the part was woken and nobody took it up yet.
    pub(crate) fn is_woken(&self) -> bool {
        self.nudge.is_woken.load(Ordering::SeqCst)
    }

    /// Marks the part from within the task.
    pub(crate) fn mark(&self) {
        self.nudge.is_woken.store(true, Ordering::SeqCst);
    }
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Mark first, then look: the task marks itself asleep first and looks at the marks then, so that one of the
        // two sees the other.
        self.is_woken.store(true, Ordering::SeqCst);
        if !self.sleeper.is_awake.load(Ordering::SeqCst) {
            self.sleeper.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_nudge_wakes_a_sleeping_task_and_only_marks_a_running_one() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let sleeper = Arc::new(Sleeper::default());
        let part = Part::new(&sleeper);
        assert!(part.take(), "a new part is polled once");

        sleeper.rise(&Context::from_waker(&waker));
        part.waker().wake_by_ref();

        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        assert!(part.take());
        sleeper.rest();
        part.waker().wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(part.is_woken());
    }
}
