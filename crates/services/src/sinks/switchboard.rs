//! Which sink is where: services send to one another in circles, so that none could be made before the others.
//!
//! On the road: every service that sends holds the switchboard; `serve` plugs in each service that takes once it is made,
//! before the first call. Nothing is sent where nothing is plugged in: that is a failure like any other.

use std::sync::{Arc, OnceLock};

use super::{
    BusSink, FirehoseSink, FunctionSink, LogSink, MetricSink, ObjectSink, QueueSink, Roles, SinkFailure,
    StreamSink, TopicSink,
};

/// The sinks of this server. Clones share it.
#[derive(Clone, Default)]
pub struct Switchboard(Arc<Plugs>);

#[derive(Default)]
struct Plugs {
    queues: OnceLock<Arc<dyn QueueSink>>,
    topics: OnceLock<Arc<dyn TopicSink>>,
    objects: OnceLock<Arc<dyn ObjectSink>>,
    functions: OnceLock<Arc<dyn FunctionSink>>,
    logs: OnceLock<Arc<dyn LogSink>>,
    metrics: OnceLock<Arc<dyn MetricSink>>,
    buses: OnceLock<Arc<dyn BusSink>>,
    streams: OnceLock<Arc<dyn StreamSink>>,
    firehoses: OnceLock<Arc<dyn FirehoseSink>>,
    roles: OnceLock<Arc<dyn Roles>>,
}

/// A plug: put in by `$plug`, asked for by `$name`.
macro_rules! plugs {
    ($($(#[$doc:meta])* $name:ident, $plug:ident: $sink:ident;)*) => {
        impl Switchboard {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Where this server has none.
                pub fn $name(&self) -> Result<&dyn $sink, SinkFailure> {
                    self.0.$name.get().map(|sink| &**sink).ok_or_else(|| absent(stringify!($name)))
                }

                /// Plugs them in. The first time counts.
                pub fn $plug(&self, sink: Arc<dyn $sink>) {
                    if self.0.$name.set(sink).is_err() {
                        tracing::warn!(sink = stringify!($name), "a sink was plugged in before");
                    }
                }
            )*
        }
    };
}

plugs! {
    /// Queues: SQS.
    queues, plug_queues: QueueSink;
    /// Topics: SNS.
    topics, plug_topics: TopicSink;
    /// Buckets: S3.
    objects, plug_objects: ObjectSink;
    /// Functions: Lambda.
    functions, plug_functions: FunctionSink;
    /// Log groups: CloudWatch Logs.
    logs, plug_logs: LogSink;
    /// Metrics: CloudWatch.
    metrics, plug_metrics: MetricSink;
    /// Event buses: EventBridge.
    buses, plug_buses: BusSink;
    /// Streams: Kinesis.
    streams, plug_streams: StreamSink;
    /// Delivery streams: Firehose.
    firehoses, plug_firehoses: FirehoseSink;
    /// Roles that services assume: IAM and STS.
    roles, plug_roles: Roles;
}

fn absent(sink: &str) -> SinkFailure {
    SinkFailure {
        is_transient: false,
        code: "ServiceUnavailable".to_owned(),
        message: format!("this server has no {sink}"),
    }
}
