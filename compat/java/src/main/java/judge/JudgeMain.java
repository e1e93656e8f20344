package judge;

import com.amazonaws.ClientConfiguration;
import com.amazonaws.auth.AWSCredentialsProvider;
import com.amazonaws.auth.EnvironmentVariableCredentialsProvider;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.cloudtrail.processinglibrary.AWSCloudTrailProcessingExecutor;
import com.amazonaws.services.cloudtrail.processinglibrary.model.CloudTrailEvent;
import com.amazonaws.services.s3.AmazonS3;
import com.amazonaws.services.s3.AmazonS3ClientBuilder;
import com.amazonaws.services.sqs.AmazonSQS;
import com.amazonaws.services.sqs.AmazonSQSClientBuilder;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Consumes a queue with the CloudTrail Processing Library until so many events were handled, or none came for a while;
 * writes the eventID of every event that it was handed, one a line, and prints what that took as JSON.
 *
 * <p>Usage: QUEUE_URL EVENTS IDLE_SECONDS THREADS FILE, with endpoint and credentials in AWS's variables.
 */
public final class JudgeMain {
    private static final String REGION = "us-east-1";
    /** What the library gives the S3 client that it makes itself; that of SQS has the SDK's defaults, for its long polls. */
    private static final int SDK_TIMEOUT_MS = 10_000;
    /** How long the end waits for what is handled; the long poll that goes on meanwhile is left alone. */
    private static final int TERMINATION_SECONDS_MAX = 5;
    private static final int VISIBILITY_TIMEOUT_SECONDS = 60;
    private static final int EVENTS_PER_EMIT_MAX = 100;
    private static final long LOOK_EVERY_MS = 10;

    private final BufferedWriter handled;
    private long events;
    private long failures;
    private long lastNanos = System.nanoTime();

    private JudgeMain(Path file) throws IOException {
        handled = Files.newBufferedWriter(file);
    }

    public static void main(String[] arguments) throws Exception {
        String queueUrl = arguments[0];
        long expected = Long.parseLong(arguments[1]);
        long idleNanos = Long.parseLong(arguments[2]) * 1_000_000_000L;
        JudgeMain judge = new JudgeMain(Path.of(arguments[4]));
        AWSCloudTrailProcessingExecutor executor = judge.executor(queueUrl, Integer.parseInt(arguments[3]));
        long begun = System.nanoTime();
        executor.start();
        while (!judge.isDone(expected, idleNanos)) {
            Thread.sleep(LOOK_EVERY_MS);
        }
        double seconds = (judge.last() - begun) / 1e9;
        // Waits for the threads, so that what was handled is deleted too.
        executor.stop();
        judge.report(seconds);
        System.exit(0);
    }

    private AWSCloudTrailProcessingExecutor executor(String queueUrl, int threads) {
        AWSCredentialsProvider credentials = new EnvironmentVariableCredentialsProvider();
        EndpointConfiguration endpoint = new EndpointConfiguration(System.getenv("AWS_ENDPOINT_URL"), REGION);
        ClientConfiguration timeouts =
                new ClientConfiguration().withConnectionTimeout(SDK_TIMEOUT_MS).withSocketTimeout(SDK_TIMEOUT_MS);
        AmazonSQS sqs = AmazonSQSClientBuilder.standard()
                .withCredentials(credentials)
                .withEndpointConfiguration(endpoint)
                .build();
        AmazonS3 s3 = AmazonS3ClientBuilder.standard()
                .withCredentials(credentials)
                .withEndpointConfiguration(endpoint)
                .withClientConfiguration(timeouts)
                .withPathStyleAccessEnabled(true)
                .build();
        var settings = new com.amazonaws.services.cloudtrail.processinglibrary.configuration.ClientConfiguration(
                queueUrl, credentials);
        settings.setSqsRegion(REGION);
        settings.setS3Region(REGION);
        settings.setVisibilityTimeout(VISIBILITY_TIMEOUT_SECONDS);
        settings.setThreadCount(threads);
        settings.setThreadTerminationDelaySeconds(TERMINATION_SECONDS_MAX);
        settings.setMaxEventsPerEmit(EVENTS_PER_EMIT_MAX);
        settings.setEnableRawEventInfo(false);
        settings.setDeleteMessageUponFailure(false);
        return new AWSCloudTrailProcessingExecutor.Builder(this::handle, settings)
                .withS3Client(s3)
                .withSQSClient(sqs)
                .withExceptionHandler(this::fail)
                .build();
    }

    private synchronized void handle(List<CloudTrailEvent> batch) {
        try {
            for (CloudTrailEvent event : batch) {
                handled.write(event.getEventData().getEventId().toString());
                handled.newLine();
            }
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
        events += batch.size();
        lastNanos = System.nanoTime();
    }

    private synchronized void fail(Exception failure) {
        failures += 1;
        System.err.println(failure);
        if (failure.getCause() != null) {
            System.err.println("  because of " + failure.getCause());
        }
    }

    private synchronized boolean isDone(long expected, long idleNanos) {
        return events >= expected || System.nanoTime() - lastNanos > idleNanos;
    }

    private synchronized long last() {
        return lastNanos;
    }

    private synchronized void report(double seconds) throws IOException {
        handled.close();
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        System.out.printf(
                "{\"events\":%d,\"failures\":%d,\"seconds\":%.3f,\"max_rss_bytes\":%d,\"cpu_seconds\":%.3f}%n",
                events, failures, seconds, residentBytesMax(), system.getProcessCpuTime() / 1e9);
    }

    private static long residentBytesMax() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
            }
        }
        throw new IOException("/proc/self/status has no VmHWM");
    }
}
