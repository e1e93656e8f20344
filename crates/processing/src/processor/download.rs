//! The bytes of an object, through interruptions: where a download breaks off, it goes on from there.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::Shared;
use crate::access::{AccessError, GetRequest};
use crate::message::LogFile;

/// An object on its way.
pub(super) struct Download<'a> {
    shared: &'a Shared,
    file: &'a LogFile,
    body: Option<BoxStream<'static, Result<Bytes, AccessError>>>,
    etag: Option<String>,
    last_modified: Option<String>,
    offset: u64,
    failures: u32,
}

impl<'a> Download<'a> {
    /// Downloads `file`, as it was when it had `etag`.
    pub(super) fn new(shared: &'a Shared, file: &'a LogFile, etag: Option<String>) -> Self {
        Self { shared, file, body: None, etag, last_modified: None, offset: 0, failures: 0 }
    }

    /// The object's ETag, once its first bytes came.
    pub(super) fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// The object's `Last-Modified`, once its first bytes came.
    pub(super) fn last_modified(&self) -> Option<&str> {
        self.last_modified.as_deref()
    }

    /// How many bytes came.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes; none at the object's end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, AccessError> {
        loop {
            let Some(body) = &mut self.body else {
                match self.open().await {
                    Ok(()) => continue,
                    Err(error) => self.put_up_with(error).await?,
                }
                continue;
            };
            match body.next().await {
                Some(Ok(bytes)) => {
                    self.offset += bytes.len() as u64;
                    self.failures = 0;
                    return Ok(Some(bytes));
                }
                Some(Err(error)) => {
                    self.body = None;
                    self.put_up_with(error).await?;
                }
                None => return Ok(None),
            }
        }
    }

    async fn open(&mut self) -> Result<(), AccessError> {
        let LogFile { bucket, key } = self.file;
        let request = GetRequest { bucket, key, offset: self.offset, etag: self.etag.as_deref() };
        let object = self.shared.objects.get(request).await?;
        self.etag = self.etag.take().or(object.etag);
        self.last_modified = object.last_modified;
        self.body = Some(object.body);
        Ok(())
    }

    /// Waits after a failure that may go by; gives back any other, and one too many.
    async fn put_up_with(&mut self, error: AccessError) -> Result<(), AccessError> {
        self.failures += 1;
        if !error.is_retryable() || self.failures >= self.shared.options.attempts_max {
            return Err(error);
        }
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            key = self.file.key,
            "the download is resumed"
        );
        self.shared.pause(self.failures).await;
        Ok(())
    }
}
