//! The stages by which a replica attaches to the change stream, and what it logs while it is not
//! attached.

use std::time::{Duration, Instant};

use super::Attachment;

/// How far a replica has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachmentStage {
    /// It has no connection over which it can read the stream.
    Connecting,
    /// It has yet to read this number of messages in the stream.
    Reading { left: i64 },
    /// It has caught up. No drain snapshot since then has shown that the database still has every
    /// change that the stream contains.
    Unverified,
    /// Redis refuses messages, so messages of other replicas may not arrive.
    AppendFailing,
    /// Every change arrives here.
    Attached,
}

impl AttachmentStage {
    /// The names of the stages, as metrics and `/health/ready` show them.
    pub const NAMES: [&str; 5] =
        ["connecting", "reading", "unverified", "append_failing", "attached"];

    /// The name of the stage, one of `NAMES`.
    pub const fn name(self) -> &'static str {
        AttachmentStage::NAMES[match self {
            AttachmentStage::Connecting => 0,
            AttachmentStage::Reading { .. } => 1,
            AttachmentStage::Unverified => 2,
            AttachmentStage::AppendFailing => 3,
            AttachmentStage::Attached => 4,
        }]
    }

    /// The class of the error for `/health/ready`; `None` where the replica is attached.
    pub const fn error(self) -> Option<&'static str> {
        match self {
            AttachmentStage::Connecting
            | AttachmentStage::Reading { .. }
            | AttachmentStage::Unverified => Some("not_followed"),
            AttachmentStage::AppendFailing => Some("not_appended"),
            AttachmentStage::Attached => None,
        }
    }

    const fn waits_for(self) -> &'static str {
        match self {
            AttachmentStage::Connecting => "a connection to Redis that the stream can be read over",
            AttachmentStage::Reading { .. } => "the messages that stand in the stream",
            AttachmentStage::Unverified => "a look at the database",
            AttachmentStage::AppendFailing => "Redis to take messages",
            AttachmentStage::Attached => "nothing",
        }
    }
}

/// Time between two looks at the stage.
const LOOK: Duration = Duration::from_millis(500);
/// Time between two log lines while the replica is not attached.
const LOG_PERIOD: Duration = Duration::from_secs(5);

/// Since when a replica has been attached, or not attached, and when that was last logged.
struct StageWatch {
    is_attached: bool,
    since: Instant,
    logged_at: Option<Instant>,
}

/// What is to be logged.
#[derive(Debug, PartialEq, Eq)]
enum StageLog {
    Nothing,
    Detached(Duration),
    AttachedAfter(Duration),
    /// It has been attached for a while.
    Settled,
}

impl StageWatch {
    fn begin(now: Instant) -> StageWatch {
        StageWatch { is_attached: false, since: now, logged_at: None }
    }

    fn observe(&mut self, stage: AttachmentStage, now: Instant) -> StageLog {
        let lasted = now.duration_since(self.since);
        let is_attached = stage == AttachmentStage::Attached;
        if is_attached != self.is_attached {
            let was_told = self.logged_at.is_some();
            *self = StageWatch { is_attached, since: now, logged_at: None };
            return if is_attached && was_told {
                StageLog::AttachedAfter(lasted)
            } else {
                StageLog::Nothing
            };
        }
        if now.duration_since(self.logged_at.unwrap_or(self.since)) < LOG_PERIOD {
            return StageLog::Nothing;
        }
        self.logged_at = (!is_attached).then_some(now);
        if is_attached { StageLog::Settled } else { StageLog::Detached(lasted) }
    }
}

/// While the replica is not attached to the stream, logs every few seconds what it waits for. Never
/// ends.
pub(super) async fn log_stage(attachment: &Attachment) {
    let mut watch = StageWatch::begin(Instant::now());
    loop {
        let stage = attachment.stage();
        match watch.observe(stage, Instant::now()) {
            StageLog::Nothing => {}
            StageLog::Settled => attachment.settle(),
            StageLog::AttachedAfter(lasted) => {
                tracing::info!(after_seconds = lasted.as_secs(), "attached to the change stream")
            }
            StageLog::Detached(lasted) => {
                let left =
                    if let AttachmentStage::Reading { left } = stage { Some(left) } else { None };
                tracing::warn!(
                    stage = stage.name(),
                    waits_for = stage.waits_for(),
                    messages = left,
                    error = attachment.error_at(stage),
                    for_seconds = lasted.as_secs(),
                    "not attached to the change stream; until it is, answers are proven by the \
                     table, and what memory holds counts as fresh for a short while only"
                );
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
#[path = "attachment_stage_tests.rs"]
mod tests;
