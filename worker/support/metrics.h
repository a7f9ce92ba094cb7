/* metrics.h - counters, gauges and histograms, and the text that Prometheus reads.
 *
 *     # HELP darkroom_jobs_total Jobs by what became of them.
 *     # TYPE darkroom_jobs_total counter
 *     darkroom_jobs_total{state="succeeded"} 17
 *
 * Each series is made once, at the start, with fixed labels.  So a job can't make a series.  Series of the
 * same name are made one after the other.  Threads: any; a call holds one short lock.  A NULL series is
 * allowed, and does nothing. */
#ifndef DR_WORKER_SUPPORT_METRICS_H
#define DR_WORKER_SUPPORT_METRICS_H

#include <stddef.h>

typedef struct dr_metrics dr_metrics;
typedef struct dr_series dr_series; /* lives as long as its dr_metrics */

/* The caller ends it with dr_metrics_free().  NULL without memory. */
dr_metrics *dr_metrics_create(void);

/* Frees it with all its series.  NULL is allowed. */
void dr_metrics_free(dr_metrics *m);

/* Makes a counter or a gauge.  labels: `state="failed"`, as it stands between the braces, or "".  All
 * strings must be literals.  NULL without memory, or if m is NULL. */
dr_series *dr_metrics_counter(dr_metrics *m, const char *name, const char *help, const char *labels);
dr_series *dr_metrics_gauge(dr_metrics *m, const char *name, const char *help, const char *labels);

/* Makes a histogram.  bounds: the upper bounds of the buckets, ascending, without infinity.  They must live
 * as long as m.  NULL as above. */
dr_series *dr_metrics_histogram(dr_metrics *m, const char *name, const char *help, const char *labels,
                                const double *bounds, size_t count);

/* Adds to a counter or a gauge. */
void dr_series_add(dr_series *s, double amount);

/* Sets a gauge, or a counter whose total is kept elsewhere. */
void dr_series_set(dr_series *s, double value);

/* Counts one value in a histogram. */
void dr_series_observe(dr_series *s, double value);

/* All series as text.  malloc'ed, the caller's; NULL without memory. */
char *dr_metrics_text(dr_metrics *m);

#endif
