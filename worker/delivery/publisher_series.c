/* publisher_series.c - what the publisher counts. */
#include "worker/delivery/publisher_parts.h"

#include <string.h>

static const char *const state_names[] = { "succeeded", "failed", "canceled", "expired" };

void dr_publisher_series_make(dr_publisher_series *s, dr_metrics *m)
{
    static const char *const labels[] = { "state=\"succeeded\"", "state=\"failed\"", "state=\"canceled\"",
                                          "state=\"expired\"" };
    static const double bounds[] = { 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15 };

    for (int i = 0; i < 4; i++)
        s->state[i] =
            dr_metrics_counter(m, "darkroom_jobs_total", "Jobs whose result is committed.", labels[i]);
    s->dead_letters =
        dr_metrics_counter(m, "darkroom_dead_letters_total", "Messages that were not jobs.", "");
    s->unanswered = dr_metrics_counter(
        m, "darkroom_unanswered_total",
        "Messages committed without an answer, because the broker refused every possible answer.", "");
    s->dropped = dr_metrics_counter(
        m, "darkroom_results_dropped_total",
        "Results of this worker that were dropped because their partition had gone to another worker.", "");
    s->aborted = dr_metrics_counter(m, "darkroom_transactions_aborted_total",
                                    "Transactions that failed and were tried again.", "");
    s->bytes = dr_metrics_counter(m, "darkroom_result_bytes_total", "Bytes of committed results.", "");
    s->seconds = dr_metrics_histogram(m, "darkroom_transaction_seconds",
                                      "Time from the first record of a transaction to its commit.", "",
                                      bounds, sizeof(bounds) / sizeof(bounds[0]));
}

void dr_publisher_series_count(dr_publisher_series *series, const dr_parcel_group *group, double seconds)
{
    for (size_t n = 0; n < group->count; n++) {
        const dr_parcel *parcel = group->parcel[n];
        if (parcel->given_up) {
            dr_series_add(series->unanswered, 1);
            continue;
        }
        if (parcel->dead)
            dr_series_add(series->dead_letters, 1);
        for (size_t s = 0; parcel->result && s < 4; s++)
            if (strcmp(dr_result_state_name(parcel->result), state_names[s]) == 0)
                dr_series_add(series->state[s], 1);
        dr_series_add(series->bytes, (double)parcel->size);
    }
    dr_series_observe(series->seconds, seconds);
}
