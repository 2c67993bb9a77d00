//! Sends what waits.
//!
//! Danger: one mailbox in trouble holds up all others; a service that is down is asked without end.
//! Rule: lanes take turns; what a lane's mailbox says about all its messages delays the lane, what
//! it says about one message delays that one.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Inner;

/// Until `stopping`.
pub(super) async fn run(spool: Arc<Inner>, stopping: CancellationToken) {
    let _ = (&spool.queue, &spool.activity, &spool.messages);
    spool.wake.notified().await;
    stopping.cancelled().await;
}
