/* service_metrics.c - what /metrics shows of the service; the publisher and the events have series of their
 * own. */
#include "worker/service/service_parts.h"

void dr_service_series_make(dr_service *service)
{
    dr_service_series *s = &service->series;
    dr_metrics *m = service->metrics;
    static const double samples[] = { 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64 };
    static const double seconds[] = { 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600 };
    enum { SAMPLES = sizeof(samples) / sizeof(samples[0]), SECONDS = sizeof(seconds) / sizeof(seconds[0]) };

    s->received =
        dr_metrics_counter(m, "darkroom_messages_received_total", "Messages taken from the jobs topic.", "");
    s->ready =
        dr_metrics_gauge(m, "darkroom_ready",
                         "1 if the worker can take jobs, draw them and commit their results, 0 otherwise.",
                         "");
    s->in_flight = dr_metrics_gauge(m, "darkroom_jobs_in_flight", "Jobs taken and not yet committed.", "");
    s->aside = dr_metrics_gauge(m, "darkroom_jobs_put_aside",
                                "Jobs in flight that wait for a missing model, or for memory.", "");
    s->waiting = dr_metrics_gauge(m, "darkroom_results_waiting", "Results that wait for the broker.", "");
    s->lag =
        dr_metrics_gauge(m, "darkroom_consumer_lag",
                         "Offsets between the committed ones and the ends of this worker's partitions.", "");
    s->partitions =
        dr_metrics_gauge(m, "darkroom_partitions", "Partitions that are assigned to this worker.", "");
    s->window =
        dr_metrics_gauge(m, "darkroom_offset_window_used",
                         "Offsets from the oldest unfinished job to the newest message that was read, in "
                         "the partition with the most; at 4096 this partition is read no further.",
                         "");
    s->rebalances =
        dr_metrics_counter(m, "darkroom_rebalances_total", "Assignments that this worker was given.", "");
    s->handed_back =
        dr_metrics_counter(m, "darkroom_jobs_handed_back_total",
                           "Jobs left uncommitted for other workers because the device was lost.", "");
    s->load =
        dr_metrics_counter(m, "darkroom_device_load_seconds_total", "Time in which the device had jobs.", "");
    s->idle = dr_metrics_counter(m, "darkroom_device_idle_seconds_total",
                                 "Time in which the device had jobs and did nothing.", "");
    s->batch = dr_metrics_histogram(m, "darkroom_batch_samples", "Samples in the batch of each job.", "",
                                    samples, SAMPLES);
    s->queued = dr_metrics_histogram(m, "darkroom_queue_seconds",
                                     "Time of each job from its acceptance to the start of its batch.", "",
                                     seconds, SECONDS);
    s->denoise = dr_metrics_histogram(m, "darkroom_denoise_seconds",
                                      "Time of the text encoder and the denoising in the batch of each job.",
                                      "", seconds, SECONDS);
    s->decode = dr_metrics_histogram(m, "darkroom_decode_seconds", "Time of each job from latents to pixels.",
                                     "", seconds, SECONDS);
    s->encode = dr_metrics_histogram(m, "darkroom_encode_seconds", "Time of each job from pixels to files.",
                                     "", seconds, SECONDS);
}

void dr_service_series_count(dr_service *s, const dr_result *result)
{
    dr_series_observe(s->series.batch, result->batch_samples);
    dr_series_observe(s->series.queued, (double)result->queued_ns * 1e-9);
    dr_series_observe(s->series.denoise, (double)result->denoise_ns * 1e-9);
    dr_series_observe(s->series.decode, (double)result->decode_ns * 1e-9);
    dr_series_observe(s->series.encode, (double)result->encode_ns * 1e-9);
}

char *dr_service_metrics(dr_service *s)
{
    dr_publisher_state publisher;
    dr_books_state books;
    dr_error why;

    dr_books_state_get(s->books, &books);
    dr_publisher_state_get(s->publisher, &publisher);
    dr_series_set(s->series.ready, dr_service_ready(s, &why));
    dr_series_set(s->series.in_flight, books.running);
    dr_series_set(s->series.aside, dr_pipeline_aside(s->pipeline));
    dr_series_set(s->series.waiting, publisher.waiting);
    dr_series_set(s->series.lag, (double)books.lag);
    dr_series_set(s->series.partitions, books.partitions);
    dr_series_set(s->series.window, (double)books.window_used);
    dr_series_set(s->series.rebalances, (double)books.rebalances);
    const dr_device_load load = dr_pipeline_load(s->pipeline);
    dr_series_set(s->series.load, load.seconds);
    dr_series_set(s->series.idle, load.idle_s);
    return dr_metrics_text(s->metrics);
}
