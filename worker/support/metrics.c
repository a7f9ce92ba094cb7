#include "worker/support/metrics.h"

#include "base/error.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES_MAX = 64, BOUNDS_MAX = 16 };

typedef enum kind { COUNTER, GAUGE, HISTOGRAM } kind;

struct dr_series {
    dr_metrics *all;
    kind kind;
    const char *name, *help, *labels;
    double value; /* of a histogram: the sum */
    const double *bounds;
    size_t bounds_count;
    uint64_t bucket[BOUNDS_MAX + 1]; /* the last one: above every bound */
};

struct dr_metrics {
    pthread_mutex_t lock;
    struct dr_series series[SERIES_MAX];
    size_t count;
};

dr_metrics *dr_metrics_create(void)
{
    dr_metrics *m = calloc(1, sizeof(*m));

    if (m)
        pthread_mutex_init(&m->lock, NULL);
    return m;
}

void dr_metrics_free(dr_metrics *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static dr_series *add(dr_metrics *m, kind k, const char *name, const char *help, const char *labels)
{
    dr_series *s;

    if (!m)
        return NULL;
    pthread_mutex_lock(&m->lock);
    dr_assert(m->count < SERIES_MAX);
    s = &m->series[m->count++];
    *s = (dr_series){ .all = m, .kind = k, .name = name, .help = help, .labels = labels };
    pthread_mutex_unlock(&m->lock);
    return s;
}

dr_series *dr_metrics_counter(dr_metrics *m, const char *name, const char *help, const char *labels)
{
    return add(m, COUNTER, name, help, labels);
}

dr_series *dr_metrics_gauge(dr_metrics *m, const char *name, const char *help, const char *labels)
{
    return add(m, GAUGE, name, help, labels);
}

dr_series *dr_metrics_histogram(dr_metrics *m, const char *name, const char *help, const char *labels,
                                const double *bounds, size_t count)
{
    dr_series *s = add(m, HISTOGRAM, name, help, labels);

    dr_assert(count <= BOUNDS_MAX);
    if (s) {
        s->bounds = bounds;
        s->bounds_count = count;
    }
    return s;
}

void dr_series_add(dr_series *s, double amount)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->all->lock);
    s->value += amount;
    pthread_mutex_unlock(&s->all->lock);
}

void dr_series_set(dr_series *s, double value)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->all->lock);
    s->value = value;
    pthread_mutex_unlock(&s->all->lock);
}

void dr_series_observe(dr_series *s, double value)
{
    size_t i = 0;

    if (!s)
        return;
    dr_assert(s->kind == HISTOGRAM);
    while (i < s->bounds_count && value > s->bounds[i])
        i++;
    pthread_mutex_lock(&s->all->lock);
    s->bucket[i]++;
    s->value += value;
    pthread_mutex_unlock(&s->all->lock);
}

static void write_histogram(FILE *out, const dr_series *s)
{
    const char *comma = *s->labels ? "," : "";
    const char *open = *s->labels ? "{" : "", *close = *s->labels ? "}" : "";
    uint64_t total = 0;

    for (size_t i = 0; i < s->bounds_count; i++) {
        total += s->bucket[i];
        fprintf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", s->name, s->labels, comma, s->bounds[i],
                (unsigned long long)total);
    }
    total += s->bucket[s->bounds_count];
    fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", s->name, s->labels, comma, (unsigned long long)total);
    fprintf(out, "%s_sum%s%s%s %.9g\n", s->name, open, s->labels, close, s->value);
    fprintf(out, "%s_count%s%s%s %llu\n", s->name, open, s->labels, close, (unsigned long long)total);
}

char *dr_metrics_text(dr_metrics *m)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };
    const char *last = "";
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->count; i++) {
        const dr_series *s = &m->series[i];
        if (strcmp(last, s->name) != 0)
            fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", s->name, s->help, s->name, types[s->kind]);
        last = s->name;
        if (s->kind == HISTOGRAM)
            write_histogram(out, s);
        else if (*s->labels)
            fprintf(out, "%s{%s} %.17g\n", s->name, s->labels, s->value);
        else
            fprintf(out, "%s %.17g\n", s->name, s->value);
    }
    pthread_mutex_unlock(&m->lock);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}
