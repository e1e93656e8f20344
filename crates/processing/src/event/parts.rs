//! The other objects of a record: resources, TLS, addendum, edge device, Insights.
//!
//! Source: the AWS user guide's "CloudTrail record contents" and "CloudTrail Insights insightDetails element".

use super::object::{Json, object};

object! {
    /// An element of the member `resources`.
    Resource {
        /// The resource's ARN.
        arn: String = "ARN",
        /// The beginning of the ARNs of several resources.
        arn_prefix: String = "ARNPrefix",
        /// The resource's account.
        account_id: String = "accountId",
        /// `AWS::S3::Bucket`, …
        kind: String = "type",
    }
}

object! {
    /// The member `tlsDetails`.
    TlsDetails {
        /// `TLSv1.3`, …
        tls_version: String = "tlsVersion",
        /// `TLS_AES_128_GCM_SHA256`, …
        cipher_suite: String = "cipherSuite",
        /// The host that the client meant.
        client_provided_host_header: String = "clientProvidedHostHeader",
        /// The key exchange: `X25519MLKEM768`, …
        key_exchange: String = "keyExchange",
    }
}

object! {
    /// The member `addendum`: why an event came late, or what of it was changed.
    Addendum {
        /// `DELIVERY_DELAY`, `UPDATED_DATA`, `SERVICE_OUTAGE`.
        reason: String = "reason",
        /// The members that were changed.
        updated_fields: String = "updatedFields",
        /// The request id of the event that this one replaces.
        original_request_id: String = "originalRequestID",
        /// The event id of the event that this one replaces.
        original_event_id: String = "originalEventID",
    }
}

object! {
    /// The member `edgeDeviceDetails`.
    EdgeDeviceDetails {
        /// The kind of the device.
        kind: String = "type",
        /// Its job.
        job_id: String = "jobId",
    }
}

object! {
    /// The member `insightDetails` of an Insights event.
    InsightDetails {
        /// `Start` or `End`.
        state: String = "state",
        /// The service.
        event_source: String = "eventSource",
        /// The call.
        event_name: String = "eventName",
        /// `ApiCallRateInsight` or `ApiErrorRateInsight`.
        insight_type: String = "insightType",
        /// The error, of an error rate.
        error_code: String = "errorCode",
        /// The statistics and whom they are attributed to.
        insight_context: InsightContext = "insightContext",
    }
}

object! {
    /// The member `insightDetails.insightContext`.
    InsightContext {
        /// What is usual, and what was seen.
        statistics: InsightStatistics = "statistics",
        /// Who and what made the calls.
        attributions: Vec<InsightAttribution> = "attributions",
    }
}

object! {
    /// The member `insightDetails.insightContext.statistics`.
    InsightStatistics {
        /// What is usual.
        baseline: InsightAverage = "baseline",
        /// What was seen.
        insight: InsightAverage = "insight",
        /// For how many minutes it was seen.
        insight_duration: f64 = "insightDuration",
        /// Of how many minutes the usual was learnt.
        baseline_duration: f64 = "baselineDuration",
    }
}

object! {
    /// A rate.
    InsightAverage {
        /// Calls or errors a minute.
        average: f64 = "average",
    }
}

object! {
    /// An element of `insightDetails.insightContext.attributions`.
    InsightAttribution {
        /// `userIdentityArn`, `userAgent`, `errorCode`.
        attribute: String = "attribute",
        /// Its values during the unusual time.
        insight: Vec<InsightValue> = "insight",
        /// Its values before.
        baseline: Vec<InsightValue> = "baseline",
    }
}

object! {
    /// A value of an attribute, and its share.
    InsightValue {
        /// The value.
        value: String = "value",
        /// Calls or errors a minute that had it.
        average: f64 = "average",
        /// Statistics that are no plain average.
        statistics: Json = "statistics",
    }
}
