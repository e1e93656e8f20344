//! Reads the bodies that are read as a whole, of callers who are not known yet.
//!
//! On the road: before the signature is verified, which needs the body. Whoever can reach the port can send one, so
//! all of them together hold [`HELD_BYTES_MAX`] at most, and none may take longer than [`BODY_TIME_MAX`].

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cairn_wire::front::Exchange;
use cairn_wire::{AwsError, Body, BodyError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most bytes that the bodies of all calls under way hold together.
const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long a client may take to send a body, however little it pauses.
const BODY_TIME_MAX: Duration = Duration::from_secs(5 * 60);

/// The room that bodies share.
#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// A body, and its place in the room while the call is under way.
#[derive(Debug)]
pub(super) struct WholeBody {
    pub(super) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

impl Default for Room {
    fn default() -> Self {
        Self::of_bytes(HELD_BYTES_MAX)
    }
}

impl Room {
    fn of_bytes(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Reads `body`, of `limit_bytes` at most.
    ///
    /// # Errors
    /// AWS's codes for a body that is too long, too slow or cut short, and 503 where the room is full.
    pub(super) async fn read(
        &self,
        body: Body,
        limit_bytes: usize,
        exchange: &Exchange,
    ) -> Result<WholeBody, AwsError> {
        let read = self.read_pieces(body, limit_bytes, exchange);
        tokio::time::timeout(BODY_TIME_MAX, read).await.unwrap_or_else(|_| {
            Err(AwsError::invalid(
                "RequestTimeout",
                "Your socket connection to the server was not read from or written to within the timeout period. \
                 Idle connections will be closed.",
            ))
        })
    }

    async fn read_pieces(
        &self,
        mut body: Body,
        limit_bytes: usize,
        exchange: &Exchange,
    ) -> Result<WholeBody, AwsError> {
        let mut whole = BytesMut::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(body_error)?;
            if whole.len() + piece.len() > limit_bytes {
                return Err(exchange.too_large());
            }
            let place = self.place(piece.len())?;
            match &mut held {
                Some(held) => held.merge(place),
                None => held = Some(place),
            }
            whole.extend_from_slice(&piece);
        }
        Ok(WholeBody { bytes: whole.freeze(), _held: held })
    }

    /// Nobody waits for room: calls that each hold a part of it would wait for one another.
    fn place(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AwsError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.0).try_acquire_many_owned(bytes).map_err(|_| {
            AwsError::with_status(
                503,
                "ServiceUnavailable",
                "The server holds as many request bodies as it may. Please reduce your request rate.",
            )
        })
    }
}

pub(super) fn body_error(error: BodyError) -> AwsError {
    match error {
        BodyError::Refused(error) => error,
        BodyError::Incomplete(_) => AwsError::invalid(
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        ),
        BodyError::Storage(source) => AwsError::internal(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> Exchange {
        Exchange::for_operation("cloudtrail", "DescribeTrails", None).unwrap()
    }

    async fn read(room: &Room, bytes: usize, limit_bytes: usize) -> Result<WholeBody, AwsError> {
        room.read(Body::from_bytes(vec![b'x'; bytes].into()), limit_bytes, &exchange()).await
    }

    #[tokio::test]
    async fn bodies_under_way_share_one_room_and_give_it_back() {
        let room = Room::of_bytes(10);
        let first = read(&room, 6, 8).await.unwrap();
        assert_eq!(first.bytes.len(), 6);
        assert_eq!(read(&room, 6, 8).await.unwrap_err().status, 503);
        let second = read(&room, 4, 8).await.unwrap();
        drop((first, second));
        assert_eq!(read(&room, 8, 8).await.unwrap().bytes.len(), 8);
        assert_eq!(read(&room, 8, 8).await.unwrap().bytes.len(), 8);
        assert_eq!(read(&room, 9, 8).await.unwrap_err().status, exchange().too_large().status);
    }

    struct Endless;

    #[async_trait::async_trait]
    impl cairn_wire::BodySource for Endless {
        async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
            let pause = std::future::pending::<()>();
            let _ = tokio::time::timeout(Duration::from_secs(50), pause).await;
            Some(Ok(Bytes::from_static(b"x")))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up() {
        let room = Room::default();
        let error = room.read(Body::new(Endless, None), 1000, &exchange()).await.unwrap_err();
        assert_eq!(error.code, "RequestTimeout");
        assert_eq!(room.0.available_permits(), HELD_BYTES_MAX);
    }
}
