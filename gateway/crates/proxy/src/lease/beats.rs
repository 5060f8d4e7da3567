//! The beats of the pulse as one request hears them: at each wake-up a look at a number, and nothing more.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use portcullis_identity::Pulse;
use tokio::sync::watch;

/// The next beat, and then whoever listens for the one after it.
type Beat = Pin<Box<dyn Future<Output = watch::Receiver<u64>> + Send + Sync>>;

/// What one request has heard.
pub(super) struct Beats {
    next: Beat,
    /// The count that was told with the last beat that was heard.
    heard: u64,
    /// Who is woken by the next one; `None`: nobody yet.
    waker: Option<Waker>,
}

impl Beats {
    /// Listens from now on.
    pub(super) fn of(pulse: &Pulse) -> Self {
        let mut receiver = pulse.subscribe();
        let heard = *receiver.borrow_and_update();
        Self {
            heard,
            next: next_beat(receiver),
            waker: None,
        }
    }

    /// True when the pulse has beaten since this was asked; otherwise the task is woken when it does.
    ///
    /// A request is woken for every piece that it moves, and the channel has a lock that all who listen share: it is
    /// asked only when the count says that there is something to hear, or when another task wants to be woken.
    pub(super) fn have_come(&mut self, pulse: &Pulse, context: &mut Context<'_>) -> bool {
        let is_registered = self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()));
        if is_registered && pulse.count() == self.heard {
            return false;
        }
        let mut have_come = false;
        while let Poll::Ready(mut receiver) = self.next.as_mut().poll(context) {
            have_come = true;
            // Told together with its version, so that nothing that counts as heard is still to be signalled.
            self.heard = *receiver.borrow_and_update();
            self.next = next_beat(receiver);
        }
        if !is_registered {
            self.waker = Some(context.waker().clone());
        }
        have_come
    }
}

fn next_beat(mut receiver: watch::Receiver<u64>) -> Beat {
    Box::pin(async move {
        if receiver.changed().await.is_err() {
            // The pulse goes with the gateway; it does not beat any more.
            std::future::pending::<()>().await;
        }
        receiver
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn woken(waker: &Arc<Woken>) -> usize {
        waker.0.load(Ordering::SeqCst)
    }

    fn have_come(beats: &mut Beats, pulse: &Pulse, task: &Arc<Woken>) -> bool {
        let waker = Waker::from(Arc::clone(task));
        beats.have_come(pulse, &mut Context::from_waker(&waker))
    }

    #[test]
    fn a_beat_is_heard_once_however_often_the_task_was_woken_before() {
        let (pulse, task) = (Pulse::new(), Arc::new(Woken::default()));
        pulse.beat();
        let mut beats = Beats::of(&pulse);
        for _ in 0..3 {
            assert!(!have_come(&mut beats, &pulse, &task));
        }

        for round in 1..=3 {
            pulse.beat();

            assert_eq!(woken(&task), round);
            assert!(have_come(&mut beats, &pulse, &task));
            assert!(!have_come(&mut beats, &pulse, &task));
        }
    }

    #[test]
    fn several_beats_are_one_and_the_next_one_still_wakes() {
        let (pulse, task) = (Pulse::new(), Arc::new(Woken::default()));
        let mut beats = Beats::of(&pulse);
        have_come(&mut beats, &pulse, &task);

        pulse.beat();
        pulse.beat();
        assert!(have_come(&mut beats, &pulse, &task));
        let before = woken(&task);
        assert!(!have_come(&mut beats, &pulse, &task));
        pulse.beat();

        assert_eq!(woken(&task), before + 1);
        assert!(have_come(&mut beats, &pulse, &task));
    }

    #[test]
    fn a_beat_before_the_first_look_is_heard() {
        let (pulse, task) = (Pulse::new(), Arc::new(Woken::default()));
        let mut beats = Beats::of(&pulse);

        pulse.beat();

        assert!(have_come(&mut beats, &pulse, &task));
    }

    /// A stream may go on in another task than the one that listened first.
    #[test]
    fn whoever_asked_last_is_woken() {
        let (pulse, first, second) = (
            Pulse::new(),
            Arc::new(Woken::default()),
            Arc::new(Woken::default()),
        );
        let mut beats = Beats::of(&pulse);
        have_come(&mut beats, &pulse, &first);
        have_come(&mut beats, &pulse, &second);

        pulse.beat();

        assert_eq!((woken(&first), woken(&second)), (0, 1));
        assert!(have_come(&mut beats, &pulse, &second));
    }

    /// What the number is for: the channel's lock is shared by all who listen.
    #[test]
    fn a_wake_up_without_a_beat_does_not_ask_the_channel() {
        let (pulse, task) = (Pulse::new(), Arc::new(Woken::default()));
        let mut beats = Beats::of(&pulse);
        have_come(&mut beats, &pulse, &task);
        // Whoever asked this one would hear a beat.
        beats.next = Box::pin(std::future::ready(pulse.subscribe()));

        assert!(!have_come(&mut beats, &pulse, &task));

        pulse.beat();
        assert!(have_come(&mut beats, &pulse, &task));
    }
}
