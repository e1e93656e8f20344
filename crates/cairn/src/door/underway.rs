//! The calls under way: each runs in a task of its own, so that a client that goes away cuts off nothing but its own
//! answer, and the server can wait for all of them before it stops.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::watch;

/// Counts the calls under way.
#[derive(Default)]
pub struct Underway(Arc<watch::Sender<usize>>);

/// One call under way, until it is dropped.
struct Place(Arc<watch::Sender<usize>>);

impl Underway {
    /// Runs `work` to its end, also where nobody waits for it any more.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.0.send_modify(|count| *count += 1);
        let place = Place(Arc::clone(&self.0));
        let task = tokio::spawn(async move {
            let _place = place;
            work.await
        });
        task.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => unreachable!("no task is cancelled: {error}"),
        })
    }

    /// Returns once no call is under way.
    pub async fn ended(&self) {
        let mut count = self.0.subscribe();
        count.wait_for(|count| *count == 0).await.expect("the sender is held here");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_for_it_and_is_waited_for_at_the_end() {
        let underway = Underway::default();
        let (go, gone) = oneshot::channel::<()>();
        let (done, was_done) = oneshot::channel();
        let mut waiting = Box::pin(underway.run(async move {
            gone.await.unwrap();
            done.send(7).unwrap();
        }));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(waiting);
        let mut ended = Box::pin(underway.ended());
        assert!(futures::poll!(&mut ended).is_pending());
        go.send(()).unwrap();
        ended.await;
        assert_eq!(was_done.await.unwrap(), 7);
    }
}
