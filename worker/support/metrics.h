/* metrics.h - counters, gauges and histograms, and the text that Prometheus reads.
 *
 *     # HELP darkroom_jobs_total Jobs by what became of them.
 *     # TYPE darkroom_jobs_total counter
 *     darkroom_jobs_total{state="succeeded"} 17
 *
 * Each series is made once, at start, with its labels fixed; there is no way to make one from what a
 * job says.  Series of one name are made one after the other.
 * Threads: all calls from any, one short lock.  A NULL series is allowed and does nothing. */
#ifndef DR_WORKER_SUPPORT_METRICS_H
#define DR_WORKER_SUPPORT_METRICS_H

#include <stddef.h>

typedef struct dr_metrics dr_metrics;
typedef struct dr_series dr_series; /* lives as long as the dr_metrics it is of */

dr_metrics *dr_metrics_create(void); /* NULL without memory */
void dr_metrics_free(dr_metrics *m); /* NULL is allowed */

/* labels: `state="failed"` as it stands between the braces, or "".  All strings are literals. */
dr_series *dr_metrics_counter(dr_metrics *m, const char *name, const char *help, const char *labels);
dr_series *dr_metrics_gauge(dr_metrics *m, const char *name, const char *help, const char *labels);
/* bounds: upper ones, ascending, without infinity; a literal too. */
dr_series *dr_metrics_histogram(dr_metrics *m, const char *name, const char *help, const char *labels,
                                const double *bounds, size_t count);

void dr_series_add(dr_series *s, double amount); /* counter, gauge */
void dr_series_set(dr_series *s, double value);  /* gauge; counter: a total that is kept elsewhere */
void dr_series_observe(dr_series *s, double value);

/* malloc'ed; NULL without memory. */
char *dr_metrics_text(dr_metrics *m);

#endif
