//! What is published from now on, as streams: log lines, events, orders.

use tokio::sync::{mpsc, oneshot};
use wayfare_protocol::ids::{OperationId, ProgramId};
use wayfare_protocol::log::LogBatch;
use wayfare_protocol::topics::Topic;

use super::Client;
use crate::error::CommandError;
use crate::following::Following;
use crate::logs::{EventStream, Follow, LogStream};
use crate::task::{Overheard, ToTask, WATCHER_QUEUE_MAX};

impl Client {
    /// A program's lines from number `since` on, in order and without repeats. One that is followed waits
    /// with printing when the reader does not keep up, as long as that goes on reading.
    pub async fn logs(
        &self,
        program: ProgramId,
        since: u64,
        follow: Follow,
    ) -> Result<LogStream, CommandError> {
        let following = match follow {
            Follow::No => None,
            Follow::UntilEnded => Some(Following::new(OperationId::random(), since, None)),
        };
        self.log_stream(program, since, following).await
    }

    /// All lines of a program that was [run](crate::Run::follower) with this follower.
    pub async fn follow(&self, program: ProgramId, follower: OperationId) -> Result<LogStream, CommandError> {
        let following = Following::new(follower, 0, Some(0));
        self.log_stream(program, 0, Some(following)).await
    }

    async fn log_stream(
        &self,
        program: ProgramId,
        since: u64,
        following: Option<Following>,
    ) -> Result<LogStream, CommandError> {
        let (sender, batches) = mpsc::channel(WATCHER_QUEUE_MAX);
        let (registered, done) = oneshot::channel();
        self.tell(ToTask::WatchLog {
            program,
            sender,
            registered,
        })
        .await?;
        done.await.map_err(|_| CommandError::Closed)?;
        // First the live lines, then the tail: nothing can fall between them.
        self.subscribe(self.inner.topics.topic(&Topic::ProgramLog(program)))
            .await?;
        Ok(LogStream::new(self.clone(), program, since, following, batches))
    }

    /// Lines of all programs, as they are published from now on. What comes faster than it is read is left
    /// out.
    pub async fn all_logs(&self) -> Result<mpsc::Receiver<LogBatch>, CommandError> {
        let (sender, batches) = mpsc::channel(WATCHER_QUEUE_MAX);
        self.tell(ToTask::WatchAllLogs(sender)).await?;
        self.subscribe(self.inner.topics.all_program_logs()).await?;
        Ok(batches)
    }

    /// Every event of every engine from now on.
    pub async fn events(&self) -> Result<EventStream, CommandError> {
        let (sender, events) = mpsc::channel(WATCHER_QUEUE_MAX);
        let (registered, done) = oneshot::channel();
        self.tell(ToTask::WatchEvents { sender, registered }).await?;
        done.await.map_err(|_| CommandError::Closed)?;
        self.subscribe(self.inner.topics.all_engine_events()).await?;
        Ok(EventStream::new(events))
    }

    /// What is ordered in the whole fleet and what engines say of it, from now on. What comes faster than it
    /// is read is left out.
    pub async fn orders(&self) -> Result<mpsc::Receiver<Overheard>, CommandError> {
        let (sender, overheard) = mpsc::channel(WATCHER_QUEUE_MAX);
        self.tell(ToTask::WatchOrders(sender)).await?;
        for filter in [
            self.inner.topics.all_engine_commands(),
            self.inner.topics.all_engine_events(),
        ] {
            self.subscribe(filter).await?;
        }
        Ok(overheard)
    }
}
