//! Prints the events of a trail, one a line, until it is interrupted.
//!
//! ```sh
//! export AWS_REGION=eu-west-1 AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…
//! cargo run -p cairn-processing --example print_events -- https://sqs.eu-west-1.amazonaws.com/111122223333/trail
//! ```
//!
//! Region, endpoints and credentials are taken from the environment, as AWS's own tools do. A second argument is the
//! number of events after which it ends.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_processing::aws::Client;
use cairn_processing::{Event, HandlerError, Processor};
use tokio::sync::Notify;

/// A line of the main members.
fn line(event: &Event) -> String {
    let text = |member: &Option<String>| member.clone().unwrap_or_else(|| "-".to_owned());
    let who = event.user_identity.as_ref().and_then(|identity| identity.arn.clone());
    format!(
        "{} {} {} {} {}",
        text(&event.event_time),
        text(&event.event_source),
        text(&event.event_name),
        text(&who),
        text(&event.error_code)
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let queue_url = arguments.next().ok_or("usage: print_events QUEUE_URL [EVENTS]")?;
    let enough: u64 = arguments.next().map_or(Ok(u64::MAX), |text| text.parse())?;

    let client = Arc::new(Client::from_environment(queue_url)?);
    let (count, done) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let done_in_handler = Arc::clone(&done);
    let handler = move |events: Vec<Event>| {
        let lines: String = events.iter().map(|event| line(event) + "\n").collect();
        let written = std::io::stdout().write_all(lines.as_bytes());
        let events = events.len() as u64;
        if count.fetch_add(events, Ordering::Relaxed) + events >= enough {
            done_in_handler.notify_one();
        }
        async move { written.map_err(HandlerError::from) }
    };
    let processor = Processor::builder(client.clone(), client, handler)
        .exceptions(|failure| eprintln!("{}", text_of(&failure.error)))
        .build()?;
    let shutdown = async {
        tokio::select! {
            () = done.notified() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted.expect("signals can be waited for"),
        }
    };
    processor.run(shutdown).await;
    Ok(())
}

/// An error with all that caused it.
fn text_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
