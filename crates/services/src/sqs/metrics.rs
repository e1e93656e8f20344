//! What SQS counts. Not by queue: there may be any number of them.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The service's metrics.
pub(super) struct Metrics {
    pub(super) sent: IntCounter,
    pub(super) received: IntCounter,
    pub(super) deleted: IntCounter,
    pub(super) expired: IntCounter,
    pub(super) moved: IntCounter,
    /// Calls that waited for messages in vain.
    pub(super) empty_receives: IntCounter,
    pub(super) waiting: IntGauge,
    /// By state: visible, in_flight, delayed.
    pub(super) messages: IntGaugeVec,
    pub(super) oldest_age_s: IntGauge,
    /// Messages that another service could not put into a queue, by code.
    pub(super) refused: IntCounterVec,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let messages = IntGaugeVec::new(
            Opts::new("cairn_sqs_messages", "messages in all queues of SQS, by state, as last counted"),
            &["state"],
        )?;
        registry.register(Box::new(messages.clone()))?;
        let refused = IntCounterVec::new(
            Opts::new(
                "cairn_sqs_refused_total",
                "messages of other services that a queue did not take, by code",
            ),
            &["code"],
        )?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self {
            sent: counter("cairn_sqs_sent_total", "messages sent to queues of SQS")?,
            received: counter("cairn_sqs_received_total", "messages received from queues of SQS")?,
            deleted: counter("cairn_sqs_deleted_total", "messages deleted from queues of SQS")?,
            expired: counter("cairn_sqs_expired_total", "messages whose retention period was over")?,
            moved: counter("cairn_sqs_moved_total", "messages moved by message move tasks")?,
            empty_receives: counter("cairn_sqs_empty_receives_total", "receives that gave no message")?,
            waiting: gauge("cairn_sqs_waiting_receives", "receives that wait for messages")?,
            messages,
            oldest_age_s: gauge("cairn_sqs_oldest_message_age_seconds", "the age of the oldest message")?,
            refused,
        })
    }
}
