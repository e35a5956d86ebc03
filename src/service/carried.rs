//! Work that is done where it was asked for, and goes on elsewhere when the caller goes away.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// Work that the task which waits for it does itself. A task of its own would cost two changes of
/// thread, which take longer than a look into the table. When the caller goes away, the work goes
/// on as a task of the runtime `home`. Whatever the work opens or starts belongs to that runtime
/// from the beginning.
pub struct Carried<T: Send + 'static> {
    /// `None` when it has ended.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    home: Handle,
}

impl<T: Send + 'static> Carried<T> {
    /// Begins nothing yet: the first poll does, or the drop.
    pub fn new(work: impl Future<Output = T> + Send + 'static, home: Handle) -> Self {
        Carried { work: Some(Box::pin(work)), home }
    }
}

impl<T: Send + 'static> Future for Carried<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out, so that work that panics is not polled again.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = {
            let _at_home = self.home.enter();
            work.as_mut().poll(context)
        };
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Carried<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            drop(self.home.spawn(work));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{runtime::Builder, sync::oneshot};

    use super::*;

    #[test]
    fn work_goes_on_at_home_when_its_caller_and_the_callers_runtime_are_gone() {
        let home = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let elsewhere = Builder::new_current_thread().enable_all().build().unwrap();
        let (release, released) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let work = async move {
            // The timer and the task belong to the runtime at home.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            let helper = tokio::spawn(async move { released.await.is_ok() });
            let _ = done.send(helper.await.unwrap());
        };
        let mut carried = Carried::new(work, home.handle().clone());
        elsewhere.block_on(async {
            assert!(futures_util::poll!(&mut carried).is_pending());
            drop(carried);
        });
        drop(elsewhere);
        release.send(()).unwrap();
        assert!(home.block_on(is_done).unwrap());
    }

    #[tokio::test]
    async fn the_caller_gets_what_the_work_brings() {
        let number = Carried::new(async { 7 }, Handle::current()).await;
        assert_eq!(number, 7);
    }
}
