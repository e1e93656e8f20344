//! The calls under way: each runs in a task of its own, so that a client that goes away cuts off nothing but its own
//! answer, and the server can wait for all of them before it stops.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::watch;

tokio::task_local! {
    /// Its sender is gone once nobody waits for the call of this task.
    static CLIENT: watch::Receiver<()>;
}

/// Returns once the client of the call of this task has gone away; never outside a call.
pub(crate) async fn client_gone() {
    match CLIENT.try_with(watch::Receiver::clone) {
        Ok(mut client) => while client.changed().await.is_ok() {},
        Err(_) => std::future::pending().await,
    }
}

/// Whether the client of the call of this task has gone away.
pub(crate) fn is_client_gone() -> bool {
    CLIENT.try_with(|client| client.has_changed().is_err()).unwrap_or(false)
}

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
        let (_waiting, client) = watch::channel(());
        let task = tokio::spawn(async move {
            let _place = place;
            CLIENT.scope(client, work).await
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

    #[tokio::test]
    async fn work_can_know_that_nobody_waits_for_it() {
        let underway = Underway::default();
        assert!(!underway.run(async { is_client_gone() }).await);
        let (done, was_done) = oneshot::channel();
        let mut waiting = Box::pin(underway.run(async move {
            client_gone().await;
            done.send(is_client_gone()).unwrap();
        }));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(waiting);
        assert!(was_done.await.unwrap());
    }
}
