//! Files that are written: beside the file until all of it is there, or to its end.

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use wayfare_protocol::files::{
    DATA_BYTES_MAX, Expected, FileAnswer, FileAsk, FilePath, FileRefusal, Opening, Place,
};
use wayfare_protocol::ids::OperationId;
use wayfare_protocol::values::Value;

use super::{Files, FilesError, OUTSTANDING_MAX, unexpected};

/// What a file is called while it is being written.
const UNFINISHED: &str = ".put-";

impl Files<'_> {
    /// Makes what `source` has the file's next version, all at once when all of it is there. `written`
    /// hears how many bytes are.
    pub async fn write(
        &self,
        path: &FilePath,
        source: impl AsyncRead + Unpin,
        written: impl FnMut(u64),
    ) -> Result<u64, FilesError> {
        self.write_if(path, None, source, written).await
    }

    /// The same, if the file is as expected when all of it is there: of several that expect the same, one
    /// succeeds.
    pub async fn write_if(
        &self,
        path: &FilePath,
        expects: Option<Expected>,
        source: impl AsyncRead + Unpin,
        written: impl FnMut(u64),
    ) -> Result<u64, FilesError> {
        let names: Vec<&str> = path.names().collect();
        let refused = |why| FilesError::Refused {
            path: path.clone(),
            why,
        };
        let Some((_, folder)) = names.split_last() else {
            return Err(refused(FileRefusal::IsFolder));
        };
        let name = format!("{UNFINISHED}{}", OperationId::random().short());
        let unfinished: Vec<&str> = folder.iter().copied().chain([name.as_str()]).collect();
        let unfinished = FilePath::of_names(&unfinished).ok_or_else(|| refused(FileRefusal::TooLong))?;
        let result = self.write_unfinished(&unfinished, source, written).await;
        let result = match result {
            Ok(bytes) => {
                let copied = self.copy_if(&unfinished, None, path, expects).await;
                copied.map(|()| bytes)
            }
            Err(error) => Err(error),
        };
        let removed = self.remove(&unfinished).await;
        // Where it went wrong before, that is what to say.
        let bytes = result.map_err(|error| error.of(&unfinished, path))?;
        removed.map(|()| bytes)
    }

    async fn write_unfinished(
        &self,
        path: &FilePath,
        mut source: impl AsyncRead + Unpin,
        mut written: impl FnMut(u64),
    ) -> Result<u64, FilesError> {
        let opening = Opening {
            create: true,
            exclusive: true,
            write: true,
            ..Opening::default()
        };
        let open = FileAsk::Open {
            path: path.clone(),
            opening,
        };
        let (node, writer) = match self.ask(path, open).await? {
            FileAnswer::Opened { stat, writer, .. } => (stat.node, writer),
            other => return Err(unexpected(&other)),
        };
        let (mut offset, mut done) = (0, 0);
        let mut under_way = FuturesUnordered::new();
        loop {
            let piece = next_piece(&mut source).await?;
            let is_end = piece.is_none();
            if let Some(data) = piece {
                let count = data.as_bytes().len() as u64;
                let what = FileAsk::Write {
                    node,
                    writer,
                    place: Place::At { offset, basis: None },
                    data,
                };
                let asked = self.ask(path, what);
                under_way.push(async move { asked.await.map(|_| count) });
                offset += count;
            }
            while under_way.len() >= if is_end { 1 } else { OUTSTANDING_MAX } {
                if let Some(piece) = under_way.next().await {
                    done += piece?;
                    written(done);
                }
            }
            if is_end {
                return Ok(done);
            }
        }
    }

    /// Appends what `source` has, and returns how long the file is then. Each piece of [`DATA_BYTES_MAX`]
    /// goes to the end as a whole, whatever others append meanwhile; if the file is expected to be
    /// unchanged, nothing of theirs is ahead of it or in between.
    pub async fn append(
        &self,
        path: &FilePath,
        expects: Option<Expected>,
        mut source: impl AsyncRead + Unpin,
    ) -> Result<u64, FilesError> {
        let opening = Opening {
            write: true,
            ..Opening::default()
        };
        let open = FileAsk::Open {
            path: path.clone(),
            opening,
        };
        let (stat, mut basis, writer) = match self.ask(path, open).await? {
            FileAnswer::Opened { stat, basis, writer } => (stat, basis, writer),
            other => return Err(unexpected(&other)),
        };
        if expects.is_some_and(|expected| !expected.is(Some(&stat))) {
            let (path, why) = (path.clone(), FileRefusal::Changed);
            return Err(FilesError::Refused { path, why });
        }
        let is_alone = matches!(expects, Some(Expected::Unchanged { .. }));
        let mut end = stat.bytes;
        loop {
            let Some(data) = next_piece(&mut source).await? else {
                return Ok(end);
            };
            let place = match is_alone {
                true => Place::At {
                    offset: end,
                    basis: Some(basis),
                },
                false => Place::End { basis },
            };
            let what = FileAsk::Write {
                node: stat.node,
                writer,
                place,
                data,
            };
            (end, basis) = match self.ask(path, what).await? {
                FileAnswer::Written { end, basis } => (end, basis),
                other => return Err(unexpected(&other)),
            };
        }
    }
}

/// As much as one request carries; `None` at the end.
async fn next_piece(source: impl AsyncRead + Unpin) -> std::io::Result<Option<Value>> {
    let mut bytes = Vec::new();
    source.take(DATA_BYTES_MAX as u64).read_to_end(&mut bytes).await?;
    Ok(Value::new(bytes).filter(|data| !data.as_bytes().is_empty()))
}
